#!/usr/bin/env bash
# One run on several machines without a scheduler: start this on every machine, all with the same HEAD and NODES.
#   NODES=2 NODE_RANK=0 HEAD=host0 GPUS=8 scripts/cluster/torchrun.sh --config configs/experiment/NAME.yaml
#   NODES=2 NODE_RANK=1 HEAD=host0 GPUS=8 scripts/cluster/torchrun.sh --config configs/experiment/NAME.yaml
# One machine needs none of this: python main.py fit --config ... --trainer.devices 8
set -euo pipefail
: "${NODES:?how many machines}" "${NODE_RANK:?0 on the first machine, then 1, 2, ...}" "${HEAD:?host name of the first machine}"
gpus=${GPUS:-$(python -c 'import torch; print(torch.cuda.device_count())')}
cd "$(dirname "$0")/../.."
# processes of one machine would otherwise each start a thread per core
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec python -m torch.distributed.run \
    --nnodes "$NODES" --node_rank "$NODE_RANK" --nproc_per_node "$gpus" \
    --master_addr "$HEAD" --master_port "${PORT:-29500}" \
    main.py fit "$@" \
    --config configs/trainer/nodes.yaml --trainer.num_nodes "$NODES" --trainer.devices "$gpus"
