#!/usr/bin/env bash
# Runs inside a machine whose kernel has SocketCAN: the simulated car on vcan0, candump as witness, one scan.
# Prints the scan's JSON between markers, what the witness saw, and how our ISO-TP got on with the kernel's.
# Everything here runs slowly: times are generous.
#   scan.sh PYTHON SCENARIO
set -u
export PYTHONFAULTHANDLER=1 OPENBLAS_NUM_THREADS=1  # threads of an emulated machine gain nothing
export NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL"  # emulated vector units are slow and have ended in a crash
python=$1 scenario=$2
# python-can loads asammdf and with it pandas where they are installed. This is not about them, and they crash now and
# then in an emulated machine.
huizhen='import sys; sys.modules["asammdf"] = None; from huizhen.cli import main; sys.exit(main(sys.argv[1:]))'
work=$(mktemp -d)
candump -L vcan0 >"$work/witness.log" 2>"$work/witness.err" &
witness=$!
"$python" -c "$huizhen" sim run --front can:socketcan:vcan0 --scenario "$scenario" >"$work/sim.json" 2>"$work/sim.err" &
sim=$!
for _ in $(seq 120); do
    [ -s "$work/sim.json" ] && break
    sleep 1
done
cat "$work/sim.json" "$work/sim.err" >&2
scan() {
    "$python" -c "$huizhen" scan -i socketcan -c vcan0 --json --timeout 4 --listen 6 \
        >"$work/scan.json" 2>"$work/scan.err"
}
scan
code=$?
# Now and then the emulator ends a process by a segmentation fault in the midst of NumPy, in nothing of ours: a fault
# of ours would do so again. Any other end is the result.
if [ "$code" = 139 ]; then
    cat "$work/scan.err" >&2
    echo "the emulated machine crashed the scan; once more" >&2
    scan
    code=$?
fi
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
