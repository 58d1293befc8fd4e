"""What the files in a run's folder are called. The record is `assignbench.run.results.record.FILE`."""

CONFIG = "config.json"  # the whole resolved configuration
LOSSES = "losses.jsonl"  # a line every ``log_every`` iterations, and those of validation
VALIDATION, COMMON = "validation/", "common/"  # begin names in a line of validation: own losses, and the same for all
STATISTICS = "assignment.jsonl"  # a line an epoch
CHECKPOINTS = "checkpoints"  # a folder, until the run is finished
TRACKED = "trackers"  # a folder for what trackers keep here
SNAPSHOTS = "snapshots"  # a folder of weights at chosen iterations
WEIGHTS = "weights.safetensors"
LEARNED = "learned.json"  # what the strategy's own parameters say
DETECTIONS = "detections.json"
FAILURES = "failures.jsonl"  # a line for each time that the run failed
JOBS = "jobs.jsonl"  # what became of the run's jobs
LOCK = ".lease"  # while a process is at the run
