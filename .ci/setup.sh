# Sourced by tests/run.sh and examples/quickstart.sh: prints steps with their time, installs what is missing, configures.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repository"

# step TITLE COMMAND...: runs the command, showing title and seconds; a failing command ends the script.
step() {
  local title=$1 start=$SECONDS
  shift
  printf '\n==> %s\n' "$title"
  "$@" || { local rc=$?; printf '==> %s: failed (exit %d)\n' "$title" "$rc" >&2; exit "$rc"; }
  printf '==> %s: %d s\n' "$title" $((SECONDS - start))
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Packages of packages.txt that are not installed.
missing_packages() {
  local package
  grep -Ev '^[[:space:]]*(#|$)' packages.txt | while read -r package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

install_packages() {
  local missing
  missing=$(missing_packages)
  if [ -z "$missing" ]; then
    echo "all packages of packages.txt are installed"
    return 0
  fi
  echo "installing:" $missing
  as_root apt-get update -q &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}

configure() {
  cmake --preset "${1:-default}"
}

# Jobs that fit: one per core, and 2 GiB of memory each (a compiler process with MLIR's headers needs about 1).
jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ {print int($2 / 2097152)}' /proc/meminfo)
  [ "${memory:-1}" -ge 1 ] || memory=1
  echo $((cores < memory ? cores : memory))
}
