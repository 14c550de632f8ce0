"""The subcommands of `mkpose`, one module each: options in, a library call, a table or JSON out."""
