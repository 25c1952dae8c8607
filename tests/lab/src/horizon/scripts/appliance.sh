# What every script of this appliance begins with. Read with ".", never run.
# Written by the lab; the words between @ were filled in when the world was built.
ROOT='@ROOT@'
ADDRESS='@ADDRESS@'
DB_PORT='@PORT@'
DATABASES='@DATABASES@'
AV_DATABASE='@AV_DATABASE@'
SLON_OPTIONS='@SLON_OPTIONS@'
SLON='@SLON@'
PSQL='@PSQL@'
HELPER='@HELPER@'
REGISTRY='@REGISTRY@'
# These two mark everything that is started from here as this appliance's, and children inherit them.
BATON_LAB_WORLD='@MARK@'
BATON_LAB_APPLIANCE='@NAME@'
PGPASSFILE="$ROOT/etc/pgpass"
PGCONNECT_TIMEOUT=5
export BATON_LAB_WORLD BATON_LAB_APPLIANCE PGPASSFILE PGCONNECT_TIMEOUT

# note WHAT VERB: one line in the journal of effects. One write, so that lines never mix.
note() {
    echo "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ) $1 $2" >>"$ROOT/var/effects.log"
}

# register PID WHAT...: names a process in the world's registry, with its start time against reused numbers.
register() {
    registered=$1
    shift
    started=$(sed 's/.*) //' "/proc/$registered/stat" 2>/dev/null | cut -d' ' -f20)
    [ -n "$started" ] && echo "pid $registered $started $* of $BATON_LAB_APPLIANCE" >>"$REGISTRY"
    return 0
}

# runs PID WORD: whether the process lives and has WORD as one of its arguments.
runs() {
    [ -n "$1" ] && tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | grep -qxF -- "$2"
}

# slon_running DATABASE: whether a slon for it runs here. By the processes, not by the pid file: a second slon
# that was refused has removed the first one's.
slon_running() {
    for found in $(grep -lsF -- "$ROOT/run/slon_$1.pid" /proc/[0-9]*/cmdline); do
        [ "$(cat "${found%cmdline}comm" 2>/dev/null)" = slon ] && return 0
    done
    return 1
}
