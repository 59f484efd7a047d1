"""Words of the command line that no verb knows, and settings and flags that do not exist."""

from __future__ import annotations

from tests.badinput.case import Case
from tests.badinput.worlds import WORLDS

WITH_CONFIG = [verb for verb, world in WORLDS.items() if world.settings]
STAGES = [verb for verb in WITH_CONFIG if verb not in ("fit", "validate", "test", "predict")]

MISSPELT = {
    "fit": ("model.base.quantisation", "model.base.quantization"),
    "validate": ("data.batching.global_batchsize", "data.batching.global_batch_size"),
    "test": ("trainer.max_epoch", "trainer.max_epochs"),
    "predict": ("data.encoding.max_len", "data.encoding.max_length"),
    "synthesize": ("quota.num_per_domian", "quota.num_per_domain"),
    "import": ("source.pth", "source.path"),
    "curate": ("judge_batchsize", "judge_batch_size"),
    "evaluate": ("num_sample", "num_samples"),
    "similarity": ("num_seed", "num_seeds"),
    "study": ("machine.num_device", "machine.num_devices"),
}
"""A key that does not exist, and the one that is nearest to it."""

CASES = [
    *(
        Case(
            f"{verb}-word-misspelt_setting",
            verb,
            (f"--{wrong} is not an option of grsap {verb}", right),
            words=(f"--{wrong}=1",),
        )
        for verb, (wrong, right) in MISSPELT.items()
    ),
    *(
        Case(f"{verb}-config-misspelt_setting", verb, (f"my.yaml: {wrong} is not a setting", right), {wrong: 1})
        for verb, (wrong, right) in MISSPELT.items()
    ),
    *(
        Case(f"{verb}-config-unknown_at_the_top", verb, ("my.yaml: colour is not a setting",), {"colour": "red"})
        for verb in WITH_CONFIG
    ),
    *(
        Case(
            f"{verb}-word-no_such_config",
            verb,
            ("--config no/such.yaml: no such file",),
            argv=("--config", "no/such.yaml"),
        )
        for verb in WITH_CONFIG
    ),
    *(
        Case(
            f"{verb}-word-config_of_an_address",
            verb,
            ("--config http://a.invalid/my.yaml is a URL",),
            argv=("--config", "http://a.invalid/my.yaml"),
        )
        for verb in WITH_CONFIG
    ),
    *(
        Case(f"{verb}-word-resume", verb, ("--resume is a flag of grsap fit",), words=("--resume",))
        for verb in WITH_CONFIG
        if verb != "fit"
    ),
    *(
        Case(f"{verb}-word-dry_run", verb, ("--dry-run is a flag of grsap fit and study",), words=("--dry-run",))
        for verb in WITH_CONFIG
        if verb not in ("fit", "study")
    ),
    *(
        Case(
            f"{verb}-word-untrusted_module",
            verb,
            ("--trust-module no_such_module: no such module",),
            words=("--trust-module", "no_such_module"),
        )
        for verb in WITH_CONFIG
    ),
    *(
        Case(f"{verb}-word-trust_without_name", verb, ("--trust-module",), words=("--trust-module",))
        for verb in WITH_CONFIG
    ),
    Case("report-word-no_folder", "report", ("DIR",), argv=()),
    Case("report-word-unknown", "report", ("--colour",), argv=("somewhere", "--colour", "red")),
    Case("report-word-output_without_value", "report", ("--output",), argv=("somewhere", "--output")),
    Case("report-folder-missing", "report", ("no/such",), argv=("no/such",)),
    Case("report-folder-file", "report", ("model/config.json",), argv=("model/config.json",)),
    Case("report-folder-of_something_else", "report", ("model",), argv=("model",)),
    Case("doctor-word-unknown", "doctor", ("--colour",), argv=("--colour",)),
    Case("doctor-word-positional", "doctor", ("everything",), argv=("everything",)),
    Case("doctor-word-value_of_a_flag", "doctor", ("--json",), argv=("--json=yes",)),
]
