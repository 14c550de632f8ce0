"""What the renderer keeps on the GPU: the context, meshes with their textures, and the buffers of an image size."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mkpose_ros.errors import DependencyError, EngineError
from mkpose_ros.synthesis.shapes.base import Material, Shape

__all__ = ["Mesh", "MeshCache", "Targets", "open_context"]

_TILES = 4  # silhouettes are drawn at a quarter of the size, 4 x 4 of them in one buffer


def open_context() -> Any:
    """A standalone OpenGL 3.3 context over EGL. Raises DependencyError or EngineError."""
    try:
        import moderngl
    except ImportError as error:
        raise DependencyError(
            "rendering needs moderngl, which is not installed; run `pip install mkpose_ros[synth]`"
        ) from error
    try:
        return moderngl.create_standalone_context(backend="egl", require=330)
    except Exception as error:  # moderngl and glcontext raise bare Exceptions
        raise EngineError(
            f"rendering: no OpenGL 3.3 context over EGL ({error}); expected libEGL and a driver. On Debian or "
            "Ubuntu run `apt install libegl1 libegl-mesa0 libgl1-mesa-dri libgles2`; an NVIDIA GPU's driver brings them"
        ) from error


@dataclass
class Group:
    """Consecutive indices of one material."""

    material: Material
    texture: Any
    first: int
    count: int

    @property
    def kind(self) -> tuple[bool, bool]:
        """Which program draws it: with a texture, of glass."""
        return self.texture is not None, self.material.transmissive


class Mesh:
    """A shape's buffers."""

    def __init__(self, gl: Any, surfaces: dict, silhouette: Any, shape: Shape, textures: list) -> None:
        self.closed = shape.source == "generator"  # its parts are; a real mesh may be a sheet seen from both sides
        order = np.argsort(shape.face_materials, kind="stable")
        count = len(shape.vertices_m)
        uv = np.zeros((count, 2), np.float32) if shape.uv is None else shape.uv
        handle = np.zeros(count, np.float32) if shape.handle_vertices is None else shape.handle_vertices
        table = np.concatenate([shape.vertices_m, shape.normals, uv, handle[:, None]], axis=1).astype(np.float32)
        self._buffers = [gl.buffer(table.tobytes()), gl.buffer(shape.faces[order].astype(np.int32).tobytes())]
        vertices, indices = self._buffers
        self.silhouette = gl.vertex_array(silhouette, [(vertices, "3f 24x", "in_position")], indices)
        per_material = np.bincount(shape.face_materials, minlength=len(shape.materials))
        firsts = np.cumsum([0, *per_material])
        self.groups = [
            Group(material, texture, 3 * int(first), 3 * int(faces))
            for material, texture, first, faces in zip(shape.materials, textures, firsts, per_material, strict=False)
            if faces
        ]
        layout = (vertices, "3f 3f 2f 1f", "in_position", "in_normal", "in_uv", "in_handle")
        self.surfaces = {  # skip_errors: a program without a texture has no in_uv
            kind: gl.vertex_array(surfaces[kind], [layout], indices, skip_errors=True)
            for kind in {group.kind for group in self.groups}
        }

    def release(self) -> None:
        """Free the buffers; textures are shared and belong to the cache."""
        for thing in (*self.surfaces.values(), self.silhouette, *self._buffers):
            thing.release()


class MeshCache:
    """Meshes by shape name and textures by array, the least recently used released first."""

    def __init__(self, gl: Any, surfaces: dict, silhouette: Any, capacity: int) -> None:
        self._gl, self._programs, self._capacity = gl, (surfaces, silhouette), capacity
        self._meshes: OrderedDict[str, tuple[Mesh, tuple[int, ...]]] = OrderedDict()
        self._textures: dict[
            int, list
        ] = {}  # id of the array -> [array (kept so that the id stays its own), texture, users]

    def get(self, shape: Shape) -> Mesh:
        """The mesh of a shape, uploaded if it is not there. Shapes of one name are one shape."""
        if shape.name not in self._meshes:
            keys = tuple(id(m.texture) for m in shape.materials if m.texture is not None)
            textures = [self._texture(m.texture) for m in shape.materials]
            self._meshes[shape.name] = Mesh(self._gl, *self._programs, shape, textures), keys
        self._meshes.move_to_end(shape.name)
        return self._meshes[shape.name][0]

    def trim(self) -> None:
        """Release what exceeds the capacity."""
        while len(self._meshes) > self._capacity:
            _, (mesh, keys) = self._meshes.popitem(last=False)
            mesh.release()
            for key in keys:
                entry = self._textures[key]
                entry[2] -= 1
                if entry[2] == 0:
                    entry[1].release()
                    del self._textures[key]

    def _texture(self, image: np.ndarray | None) -> Any:
        if image is None:
            return None
        entry = self._textures.setdefault(id(image), [image, None, 0])
        if entry[1] is None:
            entry[1] = _upload(self._gl, image)
        entry[2] += 1
        return entry[1]


def _upload(gl: Any, image: np.ndarray) -> Any:
    """An sRGB image (h, w, 3) uint8, row 0 at the top, as a repeating mipmapped texture."""
    image = cv2.cvtColor(np.ascontiguousarray(image[::-1]), cv2.COLOR_RGB2RGBA)  # OpenGL's v = 0 is the first row
    texture = gl.texture((image.shape[1], image.shape[0]), 4, image.tobytes())
    texture.build_mipmaps(0, int(np.log2(max(image.shape[:2]))))
    texture.filter = (gl.LINEAR_MIPMAP_NEAREST, gl.LINEAR)
    return texture


class Targets:
    """The buffers of one image size."""

    tile_count = _TILES * _TILES

    def __init__(self, gl: Any, size: tuple[int, int]) -> None:
        self._size = size
        self._gl = gl
        self._color, self.behind = (gl.texture(size, 4, dtype="f2") for _ in range(2))
        self._geometry = gl.texture(size, 4, dtype="f4")
        self._code = gl.texture(size, 4, dtype="u1")
        depth = gl.depth_renderbuffer(size)
        self.buffer = gl.framebuffer([self._color, self._geometry, self._code], depth)
        self._depth_only = gl.framebuffer([], depth)
        self._from, self._to = gl.framebuffer([self._color]), gl.framebuffer([self.behind])
        self._tile = (max(size[0] // _TILES, 1), max(size[1] // _TILES, 1))
        self._atlas = gl.texture((self._tile[0] * _TILES, self._tile[1] * _TILES), 1)
        self.tiles = gl.framebuffer([self._atlas])

    def clear_depth(self) -> None:
        """Clear the depth alone (one call can't clear floats and integers) and draw into the buffer from now on."""
        self._depth_only.use()
        self._depth_only.clear(depth=1.0)
        self.buffer.use()

    def copy_color(self) -> None:
        """Copy the colour drawn so far to ``behind``."""
        self._gl.copy_framebuffer(self._to, self._from)

    def read_radiance(self) -> np.ndarray:
        """(H, W, 3) float16."""
        return self._read(self._color, np.float16)[..., :3]

    def read_geometry(self) -> np.ndarray:
        """(H, W, 4) float32: NOCS and depth."""
        return self._read(self._geometry, np.float32)

    def read_code(self) -> np.ndarray:
        """(H, W, 4) uint8; see the fragment shader."""
        return self._read(self._code, np.uint8)

    def tile(self, i: int) -> tuple[int, int, int, int]:
        """The viewport of tile i."""
        w, h = self._tile
        return (i % _TILES * w, i // _TILES * h, w, h)

    def count_tiles(self) -> list[float]:
        """How many pixels of the full image each tile's drawing covers."""
        w, h = self._tile
        atlas = np.frombuffer(self._atlas.read(alignment=1), np.uint8).reshape(h * _TILES, w * _TILES)
        scale = self._size[0] * self._size[1] / (w * h)
        tiles = (atlas[y : y + h, x : x + w] for x, y, w, h in map(self.tile, range(self.tile_count)))
        return [scale * cv2.countNonZero(np.ascontiguousarray(tile)) for tile in tiles]

    def _read(self, texture: Any, dtype: type) -> np.ndarray:
        return np.frombuffer(texture.read(), dtype).reshape(self._size[1], self._size[0], 4)
