#!/bin/sh
# Starts slon_watchdog in the background.
. '@ROOT@/etc/appliance.sh'
PIDFILE="$ROOT/run/slon_watchdog.pid"
if runs "$(cat "$PIDFILE" 2>/dev/null)" "$ROOT/usr/local/desktone/scripts/slon_watchdog"; then
    echo "slon_watchdog is already running"
    exit 0
fi
setsid "$ROOT/usr/local/desktone/scripts/slon_watchdog" </dev/null >>"$ROOT/var/log/slon_watchdog.log" 2>&1 &
echo $! >"$PIDFILE"
register $! slon_watchdog
note slon_watchdog start
