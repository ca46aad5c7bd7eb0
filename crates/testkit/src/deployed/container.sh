# Makes a container's file system in a mount namespace of its own, and becomes the program. As root, below `unshare --mount`.
#   container.sh ROOT PROGRAM SETPRIV UID GID CGROUP SOCKETS [SOURCE TARGET]… -- ARGUMENT…
# What is in it is what a distroless image has (libraries, certificates; no shell, nothing else to run but what sets the
# user), what the kubelet adds (/proc, a few devices, names of hosts, mounted secrets), and the socket of PostgreSQL.
set -eu
root=$1 program=$2 setpriv=$3 uid=$4 gid=$5 cgroup=$6 sockets=$7
shift 7
[ -z "$cgroup" ] || echo $$ >"$cgroup/cgroup.procs"
mount -t tmpfs -o size=1m,mode=0755 none "$root"

folder() {
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    mount -o remount,bind,ro,nosuid,nodev "$root$2"
}
file() {
    [ -e "$1" ] || return 0
    mkdir -p "$root${2%/*}"
    : >"$root$2"
    mount --bind "$1" "$root$2"
    [ -c "$1" ] || mount -o remount,bind,ro "$root$2"
}

folder /usr/lib /usr/lib
[ ! -d /usr/lib64 ] || folder /usr/lib64 /usr/lib64
for name in lib lib64; do
    if [ -L "/$name" ]; then
        ln -s "$(readlink "/$name")" "$root/$name"
    elif [ -d "/$name" ]; then
        folder "/$name" "/$name"
    fi
done
for name in /etc/ld.so.cache /etc/resolv.conf /etc/hosts /etc/nsswitch.conf /dev/null /dev/zero /dev/random /dev/urandom; do
    file "$name" "$name"
done
[ ! -d /etc/ssl ] || folder /etc/ssl /etc/ssl
mkdir "$root/proc" "$root/tmp"
mount -t proc proc "$root/proc"
file "$setpriv" /.setpriv
file "$program" /usr/local/bin/headgate
folder "$sockets" "$sockets"
while [ "$1" != -- ]; do
    folder "$1" "$2"
    shift 2
done
shift
mount -o remount,ro "$root"
exec chroot "$root" /.setpriv --reuid "$uid" --regid "$gid" --clear-groups --no-new-privs --inh-caps=-all \
    --bounding-set=-all /usr/local/bin/headgate "$@"
