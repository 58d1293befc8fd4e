"""Where the runs of a matrix are computed: on this machine, by SLURM, by Ray."""
