#!/bin/sh
# Makes sure that the system packages behind some features are there: `g++` to compile the ROS messages, `egl` to render and
# to cast rays.
# Installs what is missing with apt where that is allowed, otherwise says what to install. Nothing happens when all is there.
missing=""
for feature in "$@"; do
  case "$feature" in
    g++)
      command -v g++ >/dev/null || missing="$missing g++"
      ;;
    egl)
      # The last four are open3d's.
      for pair in libEGL.so.1:libegl1 libEGL_mesa.so.0:libegl-mesa0 libGLESv2.so.2:libgles2 \
        libGL.so.1:libgl1 libX11.so.6:libx11-6 libudev.so.1:libudev1 libusb-1.0.so.0:libusb-1.0-0; do
        /sbin/ldconfig -p | grep -q "${pair%%:*}" || missing="$missing ${pair##*:}"
      done
      ls /usr/lib/*/dri/swrast_dri.so /usr/lib/*/libgallium* 2>/dev/null | grep -q . || missing="$missing libgl1-mesa-dri"
      ;;
  esac
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ]; then run=""; elif sudo -n true 2>/dev/null; then run="sudo"; else run="none"; fi
if [ "$run" = none ] || ! command -v apt-get >/dev/null; then
  echo "mkpose_ros: these system packages are missing:$missing. Install them (sudo apt-get install$missing) and try again." >&2
  exit 1
fi
echo "mkpose_ros: installing the system packages$missing"
$run apt-get update -qq && $run apt-get install -y -qq --no-install-recommends $missing >/dev/null
