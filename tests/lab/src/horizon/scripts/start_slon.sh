#!/bin/sh
# Starts the slon of @DATABASE@ in the background. Harmless when it runs already: a second slon for the same node
# ends at once, but takes the first one's pid file with it.
. '@ROOT@/etc/appliance.sh'
DB='@DATABASE@'
exec 9>"$ROOT/run/slon_$DB.lock"
flock 9
if slon_running "$DB"; then
    echo "slon for $DB is already running"
    exit 0
fi
setsid "$SLON" $SLON_OPTIONS -p "$ROOT/run/slon_$DB.pid" slony \
    "host=$ADDRESS port=$DB_PORT dbname=$DB user=slony connect_timeout=5" \
    </dev/null >>"$ROOT/var/log/slon_$DB.log" 2>&1 9>&- &
register $! "slon $DB"
# Until it has become slon, a second start would not see it.
tries=50
until slon_running "$DB" || [ "$tries" -eq 0 ]; do
    sleep 0.02
    tries=$((tries - 1))
done
note "slon_$DB" start
echo "slon for $DB started"
