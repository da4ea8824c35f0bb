#!/usr/bin/env bash
# Runs inside a machine whose kernel has SocketCAN: the simulated car on vcan0, candump as witness, one scan.
# Prints the scan's JSON between markers, what the witness saw, and how our ISO-TP got on with the kernel's.
# Everything here runs slowly: times are generous.
#   scan.sh PYTHON SCENARIO
set -u
python=$1 scenario=$2
work=$(mktemp -d)
candump -L vcan0 >"$work/witness.log" 2>"$work/witness.err" &
witness=$!
"$python" -m huizhen sim run --front can:socketcan:vcan0 --scenario "$scenario" >"$work/sim.json" 2>"$work/sim.err" &
sim=$!
for _ in $(seq 120); do
    [ -s "$work/sim.json" ] && break
    sleep 1
done
cat "$work/sim.json" "$work/sim.err" >&2
"$python" -m huizhen scan -i socketcan -c vcan0 --json --timeout 4 --listen 6 \
    >"$work/scan.json" 2>"$work/scan.err"
code=$?
kill -INT "$sim"
wait "$sim"
kill "$witness"
wait "$witness" 2>/dev/null
cat "$work/scan.err" >&2
echo "SCAN-BEGIN"
cat "$work/scan.json"
echo "SCAN-END $code"
echo "WITNESS-FRAMES $(wc -l <"$work/witness.log")"
echo "WITNESS-REQUESTS $(grep -cE ' 7(DF|E[0-7])#' "$work/witness.log")"
echo "WITNESS-ANSWERS $(grep -cE ' 7E[89A-F]#' "$work/witness.log")"
echo "WITNESS-SERVICES $(grep -oE ' 7(DF|E[0-7])#0[1-7][0-9A-F]{2}' "$work/witness.log" | cut -d'#' -f2 | cut -c3-4 | sort -u | tr '\n' ' ')"
"$python" -m pytest -q -p no:cacheprovider tests/diag/test_socketcan_link.py >"$work/link.log" 2>&1
echo "KERNEL-ISOTP $?"
tail -3 "$work/link.log"
