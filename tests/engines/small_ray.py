"""Ray's own cluster of several nodes on this machine, in a process of its own.

    python tests/engines/small_ray.py 3     # a head without CPUs and three nodes of one CPU each; prints its address

Lines on standard input tell it what to do: ``kill 1`` takes the second node away as a power cut would, ``add`` adds a
node. It ends, with all its nodes, when standard input does.
"""

import os
import sys
from collections.abc import Sequence

SMALL = 80 * 2**20  # bytes of a node's object store: the least that Ray takes is a little less


def main(arguments: Sequence[str]) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": SMALL},
    )

    def add() -> object:
        return cluster.add_node(num_cpus=1, object_store_memory=SMALL)

    nodes = [add() for _ in range(int(arguments[0]))]
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        what, *which = line.split()
        if what == "kill":
            cluster.remove_node(nodes[int(which[0])], allow_graceful=False)
        else:
            nodes.append(add())
        sys.stdout.write(f"{line.strip()}: done\n")
        sys.stdout.flush()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
