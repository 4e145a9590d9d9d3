"""A Ray cluster of two nodes of one CPU, for as long as standard input is open; the line "remove" takes one node away."""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

SIZE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


def main():
    cluster = Cluster(initialize_head=True, head_node_args=SIZE)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
        cluster.wait_for_nodes()
        print(cluster.address, flush=True)
        for line in sys.stdin:
            if line.strip() == "remove":
                cluster.remove_node(second)
            elif line.strip() == "add":
                second = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
                cluster.wait_for_nodes()
            print("done", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
