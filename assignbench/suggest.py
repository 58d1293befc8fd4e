"""Did you mean …? One wording for every unknown name, key, option and class."""

from collections.abc import Iterable
from difflib import get_close_matches

# Words that people use for one thing; a known word of the same group is what was meant. Lower case, with "_" between
# words; of a dotted key its last part.
SAME = (
    ("assigner", "strategy", "strategies", "assigners", "method", "model", "algorithm"),
    ("dataset", "data", "datasets", "data_set"),
    ("data_root", "root", "data_dir", "data_folder", "datasets_dir"),
    ("output", "out", "output_dir", "out_dir", "save", "save_dir", "work_dir", "to"),
    ("recipe", "config", "cfg", "schedule"),
    ("seeds", "seed", "random_seed"),
    ("set", "override", "overrides", "options", "cfg_options", "opts"),
    ("resume", "continue", "restart"),
    ("dry_run", "plan", "simulate", "check"),
    ("device", "gpu", "gpus", "cuda"),
    ("jobs", "parallel", "processes", "num_jobs"),
    ("format", "style", "as"),
    ("picture", "image", "pictures", "images"),
    ("metrics", "metric"),
    ("threshold", "score_threshold", "conf", "confidence", "score_thr", "min_score"),
    ("share", "fraction", "train_share", "ratio", "split"),
    ("evaluation", "val", "valid", "validation", "test", "eval"),
    ("train", "training"),
    ("trust", "trust_code", "unsafe"),
    ("lr", "learning_rate", "base_lr", "lr0"),
    ("iterations", "iters", "max_iter", "max_iters", "num_iters", "epochs", "max_epochs", "num_epochs"),
    ("batch", "batch_size", "images_per_batch", "ims_per_batch"),
    ("accumulation", "gradient_accumulation", "gradient_accumulation_steps", "accumulate", "accum"),
    ("precision", "amp", "mixed_precision", "fp16", "bf16"),
    ("warmup", "warmup_iters", "warmup_steps", "warmup_iterations"),
    ("steps", "milestones", "lr_steps"),
    ("schedule", "scheduler", "lr_schedule", "lr_scheduler"),
    ("clip", "grad_clip", "clip_grad", "gradient_clip", "max_norm"),
    ("weight_decay", "wd", "decay"),
    ("checkpoint_every", "checkpoint_interval", "save_every", "save_interval"),
    ("log_every", "log_interval", "print_freq"),
    ("workers", "num_workers", "loader_workers"),
    ("weights", "pretrained", "init", "checkpoint"),
    ("backbone", "network", "arch", "architecture", "encoder"),
    ("short_side", "size", "img_size", "image_size", "imgsz", "min_size", "resize"),
    ("long_side", "max_size"),
    ("flip", "hflip", "horizontal_flip", "mirror"),
    ("jitter", "color_jitter", "colour_jitter"),
    ("nms", "nms_iou", "nms_threshold", "iou_threshold", "iou_thr"),
    ("detections", "max_detections", "max_per_img", "max_det", "predictions", "results"),
    ("candidates", "topk", "pre_nms_topk", "nms_pre"),
    ("box", "bbox", "reg", "regression", "box_loss"),
    ("box_weight", "bbox_weight", "reg_weight", "lambda", "box_loss_weight"),
    ("class", "cls", "classification", "class_loss"),
    ("k", "topk", "top_k", "num_candidates"),
    ("tau", "temperature"),
    ("center", "centre", "center_prior", "centre_prior"),
    ("normaliser", "normalizer", "norm"),
    ("centerness", "centreness", "center_ness"),
    ("coco", "coco2017", "coco_2017", "mscoco", "ms_coco"),
    ("voc", "pascal", "pascal_voc", "pascalvoc", "voc2007", "voc0712", "voc2012"),
    ("widerface", "wider", "wider_face"),
    ("objects365", "o365", "obj365", "objects365v2"),
    ("shapes", "synthetic", "toy", "generated"),
    ("tal", "tood", "task_aligned"),
    ("simota", "yolox", "sim_ota"),
    ("soft_label", "rtmdet"),
    ("uniform", "yolof"),
    ("fovea", "foveabox"),
    ("atss", "gfl", "vfnet"),
    ("retinanet", "max_iou", "maxiou", "iou"),
    ("poto", "defcn"),
    ("autoassign", "auto_assign"),
    ("freeanchor", "free_anchor"),
    ("1x", "default", "coco_1x"),
    ("markdown", "md"),
    ("latex", "tex"),
    ("terminal", "txt", "text"),
)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean atss?"`` when a known word means the same or is close, else ``""``; to be put behind a message.

    Of a dotted key whose group is known the last part alone is looked at, first within the group, then in all: ``lr``
    and ``data.lr`` find ``train.lr``; so do ``train.learning_rate`` and ``learning_rate``.
    """
    whole = {name.casefold(): name for name in known}
    group, _, last = word.casefold().rpartition(".")
    ends = {name: name.rpartition(".")[2] for name in whole}
    own = {ends[name]: full for name, full in whole.items() if group and name.rpartition(".")[0] == group}
    anywhere = {ends[name]: full for name, full in whole.items()}
    looks = [(last, own) if own else (word.casefold(), whole), (last, anywhere)]
    for find in (_same, _close):
        for wanted, names in looks:
            if found := find(wanted, names):
                return f"; did you mean {names[found]}?"
    return ""


def _plain(word: str) -> str:
    """Without what spellings of one word differ in."""
    return word.strip("-").replace("-", "_").replace(" ", "_")


def _same(word: str, names: Iterable[str]) -> str | None:
    """The name that is spelt alike but for hyphens, or that means the same."""
    plain = {_plain(name): name for name in names}
    wanted = _plain(word)
    alike = [wanted, *(other for group in SAME if wanted in group for other in group)]
    return next((plain[one] for one in alike if one in plain), None)


def _close(word: str, names: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(word, list(names), n=1)), None)
