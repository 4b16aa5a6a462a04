#!/bin/bash
# A study in a Slurm allocation: sbatch slurm.sh STUDY [options of psp run]
# Change what is marked CHANGE. What it does and what it needs: docs/slurm.md.
#SBATCH --job-name=psp
#SBATCH --nodes=2               # CHANGE: how many machines
#SBATCH --exclusive             # whole machines: when a job ends, Ray stops all of your Ray processes there
#SBATCH --ntasks-per-node=1     # Ray starts a machine's workers by itself
#SBATCH --cpus-per-task=8       # CHANGE: cores of each machine
#SBATCH --gpus-per-node=1       # CHANGE: GPUs of each machine; leave the line out where there are none
#SBATCH --time=04:00:00         # CHANGE
#SBATCH --requeue
#SBATCH --open-mode=append      # a job that goes on writes on in the same file
set -euo pipefail

source .venv/bin/activate       # CHANGE: if `make install-cluster` was typed elsewhere
ip=$(hostname -I | cut -d' ' -f1)  # CHANGE: if the other machines reach this one by another address
address=$ip:$((6379 + SLURM_JOB_ID % 1000))

RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")  # nobody else may use this cluster
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

# Three minutes before the job's end psp stops by itself, with exit code 124, and packs keep their state.
end=$(date -d "$(squeue -h -j "$SLURM_JOB_ID" -o %e)" +%s)
log=psp-$SLURM_JOB_ID.out code=0
srun --output=ray-%j.out --open-mode=append \
    ray symmetric-run --address "$address" --min-nodes "$SLURM_NNODES" --num-cpus "$SLURM_CPUS_PER_TASK" -- \
    bash -c 'exec psp run "$@" >>"$0" 2>&1' "$log" "$@" --address "$address" \
    --time-budget $((end - $(date +%s) - 180)) || code=$?
[ "$code" != 124 ] || scontrol requeue "$SLURM_JOB_ID"  # the same job goes on when it gets machines again
exit "$code"
