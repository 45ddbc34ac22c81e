#!/bin/bash
# Installs the Debian packages that the fullest test run uses: a browser, SLURM with its
# accounting database, OpenLDAP, and the oldest PostgreSQL that Bursar supports. Root, Debian 12.
# Bursar itself needs none of them.
set -euo pipefail

packages=(
    postgresql-15            # the oldest supported PostgreSQL; the database tests run on it too
    chromium fonts-dejavu-core fonts-noto-color-emoji
    openssh-client           # SLURM reached over ssh
    slapd ldap-utils         # a directory; the plugin `ldap` writes to a real one
    slurmctld slurmd slurmdbd slurm-client munge mariadb-server
)
# The same browser without its windows, which takes half the computing; where there is no such package the other serves.
lighter=chromium-headless-shell

if ! command -v apt-get >/dev/null 2>&1; then
    echo "system-packages: this machine has no apt-get; on Debian 12 it would install: ${packages[*]}" >&2
    exit 1
fi
is_there() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'; }
missing=()
for package in "${packages[@]}"; do
    is_there "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ] && is_there "$lighter"; then
    echo "system-packages: all present"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "system-packages: needs root; missing: ${missing[*]:+${missing[*]} }$lighter" >&2
    exit 1
fi

# The tests start daemons of their own with their own data; the packages must not start theirs.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=1
fi
cleanup() { [ -z "$made_policy" ] || rm -f "$policy"; }
trap cleanup EXIT

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp /tmp/bursar-apt.XXXXXX)
# Another apt may be at work on this machine: wait for its lock rather than fail.
apt=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -qq)
install() { "${apt[@]}" install -y --no-install-recommends "$@"; }
echo "system-packages: installing ${missing[*]:+${missing[*]} }$lighter"
if ! { "${apt[@]}" update && { [ ${#missing[@]} -eq 0 ] || install "${missing[@]}"; }; } >"$log" 2>&1; then
    tail -30 "$log" >&2
    echo "system-packages: failed; the whole log is in $log" >&2
    exit 1
fi
install "$lighter" >>"$log" 2>&1 || echo "system-packages: there is no $lighter here; chromium itself serves"
rm -f "$log"
echo "system-packages: installed"
