# Sourced by ./run and ./test: the virtual environment .venv with locked dependencies and Corral itself.
# A second run finds everything in place and takes no time.

say() { printf '%s\n' "$@"; }
fail() { printf '%s\n' "$@" >&2; exit 2; }

# Print the first interpreter that is 3.11 or newer. It is run, not only looked up: a name may be a broken shim.
find_python() {
    local name
    for name in ${CORRAL_PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# apt_install PACKAGE...: install where root, else fail.
apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "Installing $* with apt"
    { DEBIAN_FRONTEND=noninteractive apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"; } >/dev/null
}

# set_up LOCKFILE: leave .venv ready.
set_up() {
    local lock=$1 python version stamp
    # Gateway, engine and functions run as users of their own, to whom the code is shown read-only: they must be able to
    # read it, whatever the umask was. The folder of the checkout itself may stay closed.
    umask 022
    [ ! -O src ] || chmod -R go+rX src
    python=$(find_python) || { apt_install python3 python3-venv && python=$(find_python); } ||
        fail "Missing: Python 3.11 or newer. Nothing works without it." \
            "  Debian 12, Ubuntu 24.04:  sudo apt-get install python3 python3-venv"
    if ! has_venv "$python" && [ ! -x .venv/bin/pip ]; then
        version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
        { apt_install "$version-venv" || apt_install python3-venv; } && has_venv "$python" ||
            fail "Missing: the venv module of $python. Corral's own environment cannot be made without it." \
                "  Debian 12, Ubuntu 24.04:  sudo apt-get install python3-venv"
    fi
    stamp=$({ "$python" -V; cat "$lock" pyproject.toml; pwd; } | sha256sum | cut -d' ' -f1)
    [ -x .venv/bin/corral ] && [ "$stamp" = "$(cat ".venv/ready-$lock" 2>/dev/null)" ] && return
    say "Setting up .venv from $lock"
    [ -x .venv/bin/pip ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        { rm -rf .venv && "$python" -m venv .venv; }
    .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    # What builds Corral came with the lock: nothing unchecked is fetched for it.
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    chmod -R go+rX .venv
    echo "$stamp" > ".venv/ready-$lock"
}
