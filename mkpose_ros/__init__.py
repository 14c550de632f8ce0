"""Category-level 9-DoF object poses from RGB-D, as a ROS 2 node and as a library."""

from pkgutil import extend_path

# The generated messages live in another folder of the same package name (the install prefix);
# without this line a source checkout on sys.path would hide `mkpose_ros.msg`.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
