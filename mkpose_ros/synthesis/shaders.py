"""GLSL of the renderer: one pass writes colour, geometry (NOCS and depth) and the material's code of every pixel.

Shading is done in the camera frame (x right, y down, z forward). Images come out with row 0 at the top because the
projection does not flip y; see ``render.projection``.
"""

from __future__ import annotations

__all__ = ["BACKGROUND_FRAGMENT", "BACKGROUND_VERTEX", "EMPTY_FRAGMENT", "MAX_BLOCKERS", "POSITION_VERTEX",
           "SURFACE_VERTEX", "surface_fragment"]  # fmt: skip

MAX_BLOCKERS = 10

SURFACE_VERTEX = """
#version 330
uniform mat4 T_cam_obj;
uniform mat4 projection;
uniform mat4 shadow_from_cam;
uniform float nocs_scale;    // 1 / diagonal of the object's box
uniform mat3 R_world_cam;
uniform vec3 irradiance[9];  // of the environment, spherical harmonics already folded with the cosine lobe
in vec3 in_position; in vec3 in_normal; in vec2 in_uv; in float in_handle;
out vec3 position; out vec3 normal; out vec2 uv; out vec3 nocs; out float handle; out vec3 shadow;
out vec3 light_even; out vec3 light_odd;  // irradiance: their sum, or for the back their difference

void diffuse_light(vec3 n) {  // so smooth that vertices are enough
    light_odd = irradiance[1] * n.y + irradiance[2] * n.z + irradiance[3] * n.x;
    light_even = irradiance[0] + irradiance[4] * n.x * n.y + irradiance[5] * n.y * n.z
        + irradiance[6] * (3.0 * n.z * n.z - 1.0) + irradiance[7] * n.x * n.z + irradiance[8] * (n.x * n.x - n.y * n.y);
}

void main() {
    vec4 p = T_cam_obj * vec4(in_position, 1.0);
    position = p.xyz;
    normal = mat3(T_cam_obj) * in_normal;
    uv = in_uv;
    handle = in_handle;
    nocs = in_position * nocs_scale + 0.5;
    shadow = (shadow_from_cam * p).xyz * 0.5 + 0.5;
    diffuse_light(R_world_cam * normal);
    gl_Position = projection * p;
}
"""

_SURFACE_FRAGMENT = """
const float PI = 3.14159265;
uniform vec3 albedo;           // linear
uniform sampler2D albedo_map;  // where MAPPED is 1
uniform float roughness;
uniform float metallic;
uniform uint instance_id;
uniform mat3 R_world_cam;
uniform sampler2D environment; // radiance in an octahedral map, mip levels blurred
uniform float environment_levels;
uniform vec3 light_dir;        // towards the light, camera frame
uniform vec3 light_radiance;
uniform sampler2DShadow shadow_map;
uniform float shadow_blur;     // in texture coordinates
uniform vec4 blockers[10];     // spheres (centre, radius) of other things that shade their surroundings
uniform int blocker_count;
uniform sampler2D behind;      // the opaque scene, for what is seen through glass (GLASS is 1)
in vec3 position; in vec3 normal; in vec2 uv; in vec3 nocs; in float handle; in vec3 shadow;
in vec3 light_even; in vec3 light_odd;
layout(location = 0) out vec4 out_color;    // linear radiance
layout(location = 1) out vec4 out_geometry; // NOCS, depth along z in metres
layout(location = 2) out uvec4 out_code;    // id + 128 on a handle; |cos| of view; albedo; gloss or 255 (glass)

vec2 octahedral(vec3 d) {
    vec2 p = d.xy / (abs(d.x) + abs(d.y) + abs(d.z));
    if (d.z < 0.0) p = (1.0 - abs(p.yx)) * vec2(p.x < 0.0 ? -1.0 : 1.0, p.y < 0.0 ? -1.0 : 1.0);
    return 0.5 * p + 0.5;
}

vec3 reflected_light(vec3 d, float rough) {
    return textureLod(environment, octahedral(d), rough * environment_levels).rgb;
}

float open_sky(vec3 n) {  // ambient occlusion by the other objects, each a sphere
    float open = 1.0;
    for (int i = 0; i < blocker_count; ++i) {
        vec3 d = blockers[i].xyz - position;
        float near = inversesqrt(dot(d, d));
        float q = min(1.0, blockers[i].w * near);
        open *= 1.0 - 0.9 * clamp(0.25 + 0.75 * near * dot(n, d), 0.0, 1.0) * q * q;
    }
    return open;
}

float lit() {
    if (shadow.x < 0.0 || shadow.x > 1.0 || shadow.y < 0.0 || shadow.y > 1.0) return 1.0;
    float z = min(shadow.z, 1.0) - 0.0035;  // beyond the casters' sphere all of them are in front
    return 0.25 * (texture(shadow_map, vec3(shadow.xy + shadow_blur * vec2(0.9, 0.3), z))
        + texture(shadow_map, vec3(shadow.xy + shadow_blur * vec2(-0.3, 0.9), z))
        + texture(shadow_map, vec3(shadow.xy + shadow_blur * vec2(-0.9, -0.3), z))
        + texture(shadow_map, vec3(shadow.xy + shadow_blur * vec2(0.3, -0.9), z)));
}

void main() {
    vec3 v = -normalize(position);
    vec3 n = normalize(normal);
    float nv = dot(n, v);
    float side = nv < 0.0 ? -1.0 : 1.0;
    n *= side;
    nv = max(side * nv, 1e-3);
    vec3 base = albedo;
#if MAPPED  // sRGB to linear by a cubic: a fraction of the cost of sRGB textures in software
    vec3 c = texture(albedo_map, uv).rgb;
    base = c * (c * (c * 0.305306 + 0.682171) + 0.012523);
#endif
    vec3 f0 = mix(vec3(0.04), base, metallic);

    // Environment: Karis' analytic fit of the split-sum table.
    vec4 k = roughness * vec4(-1.0, -0.0275, -0.572, 0.022) + vec4(1.0, 0.0425, 1.04, -0.04);
    float a004 = min(k.x * k.x, exp2(-9.28 * nv)) * k.x + k.y;
    vec2 ab = vec2(-1.04, 1.04) * a004 + k.zw;
    vec3 mirror = reflected_light(R_world_cam * reflect(-v, n), roughness) * (f0 * ab.x + ab.y);
    float open = open_sky(n);
    vec3 diffuse = base * (1.0 - metallic) / PI;
    vec3 radiance = open * (diffuse * max(light_even + side * light_odd, vec3(0.0)) + mirror);

    // Key light: GGX with Smith's height-correlated visibility (Hammon's approximation).
    float nl = dot(n, light_dir);
    if (nl > 0.0) {
        vec3 h = normalize(light_dir + v);
        float nh = max(dot(n, h), 0.0), vh = max(dot(v, h), 0.0);
        float a = max(roughness * roughness, 0.004), a2 = a * a;
        float q = nh * nh * (a2 - 1.0) + 1.0;
        float spread = min(a2 / (PI * q * q), 40.0);
        float visible = 0.5 / mix(2.0 * nl * nv, nl + nv, a);
        float g = 1.0 - vh;
        vec3 fresnel = f0 + (1.0 - f0) * (g * g * g * g * g);
        radiance += lit() * nl * light_radiance * ((1.0 - fresnel) * diffuse + spread * visible * fresnel);
    }
#if GLASS
    vec2 size = vec2(textureSize(behind, 0));
    vec2 bend = -n.xy * 0.06 * (1.0 - nv) ;
    vec3 through = texture(behind, clamp(gl_FragCoord.xy / size + bend, 0.001, 0.999)).rgb;
    float edge = pow(1.0 - nv, 3.0);
    vec3 tint = pow(max(base, vec3(1e-3)), vec3(0.5 + 0.7 * edge));  // Beer and Lambert: a longer way near the outline
    radiance = through * tint * (1.0 - 0.5 * edge) + mirror + 0.06 * radiance;
#endif
    out_color = vec4(min(radiance, vec3(6e4)), 1.0);
    out_geometry = vec4(nocs, position.z);
    float infrared = clamp(dot(base, vec3(0.6, 0.3, 0.1)), 0.0, 1.0);
    uint gloss = GLASS == 1 ? 255u : uint(200.0 * (1.0 - roughness));
    out_code = uvec4(instance_id + (handle > 0.5 ? 128u : 0u), uint(255.0 * nv), uint(255.0 * infrared), gloss);
}
"""


def surface_fragment(mapped: bool, glass: bool) -> str:
    """The fragment shader of a kind of material: programs of their own, as llvmpipe runs both sides of an if."""
    return f"#version 330\n#define MAPPED {int(mapped)}\n#define GLASS {int(glass)}\n{_SURFACE_FRAGMENT}"


BACKGROUND_VERTEX = """
#version 330
uniform vec4 pinhole;  // 2 fx / w, 2 fy / h, and the NDC of the principal point
out vec3 ray;
void main() {
    vec2 at = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    ray = vec3((at - pinhole.zw) / pinhole.xy, 1.0);
    gl_Position = vec4(at, 1.0, 1.0);
}
"""

BACKGROUND_FRAGMENT = """
#version 330
uniform mat3 R_world_cam;
uniform sampler2D environment;
in vec3 ray;
layout(location = 0) out vec4 out_color;
layout(location = 1) out vec4 out_geometry;
layout(location = 2) out uvec4 out_code;
void main() {
    vec3 d = normalize(R_world_cam * ray);
    vec2 p = d.xy / (abs(d.x) + abs(d.y) + abs(d.z));
    if (d.z < 0.0) p = (1.0 - abs(p.yx)) * vec2(p.x < 0.0 ? -1.0 : 1.0, p.y < 0.0 ? -1.0 : 1.0);
    out_color = vec4(min(textureLod(environment, 0.5 * p + 0.5, 0.5).rgb, vec3(6e4)), 1.0);
    out_geometry = vec4(0.0);
    out_code = uvec4(0u);
}
"""

POSITION_VERTEX = """
#version 330
uniform mat4 clip_from_obj;
in vec3 in_position;
void main() { gl_Position = clip_from_obj * vec4(in_position, 1.0); }
"""

EMPTY_FRAGMENT = """
#version 330
out vec4 out_color;
void main() { out_color = vec4(1.0); }
"""
