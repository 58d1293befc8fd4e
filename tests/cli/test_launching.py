import pytest

from assignbench.cli.launching import is_alone, meets_elsewhere, processes_asked_for
from assignbench.errors import UsageError

MARKS = {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_alone_is_a_process_that_should_be_one_of_several():
    assert is_alone(MARKS)
    assert not is_alone({})
    assert not is_alone({**MARKS, "WORLD_SIZE": "2"})  # started by torchrun
    assert not is_alone({**MARKS, "ACCELERATE_USE_CPU": "False"})
    assert not is_alone({"ACCELERATE_USE_CPU": "True"})  # asked for one


@pytest.mark.parametrize(
    "words",
    [
        ["--cpu", "--num_processes", "2", "-m", "assignbench", "run"],
        ["--num-processes=2", "--cpu", "--num_machines", "1", "-m", "assignbench", "run", "--num_processes", "7"],
    ],
)
def test_the_number_is_read_off_the_launcher(words):
    assert processes_asked_for(["python", "accelerate", "launch", *words]) == 2
    assert processes_asked_for(["python", "-m", "accelerate.commands.launch", *words]) == 2
    assert processes_asked_for(["python", "/bin/accelerate-launch", *words]) == 2


@pytest.mark.parametrize(
    "words", [["--cpu", "-m", "assignbench"], ["--num_processes", "4", "--num_machines", "2", "-m", "assignbench"]]
)
def test_what_cannot_be_started_is_explained(words):
    with pytest.raises(UsageError, match="torchrun --nproc_per_node"):
        processes_asked_for(["accelerate", "launch", *words])


def test_the_launcher_s_file_of_defaults_can_ask_for_several_machines():
    """It stands nowhere in the command; but the address to meet at is another one then."""
    assert meets_elsewhere({**MARKS, "MASTER_ADDR": "10.0.0.1"}, {})
    assert not meets_elsewhere(MARKS, {})
    exported = {"MASTER_ADDR": "10.0.0.1"}  # by the user, not by the launcher
    assert not meets_elsewhere({**MARKS, **exported}, exported)
    assert not meets_elsewhere(MARKS, exported)
