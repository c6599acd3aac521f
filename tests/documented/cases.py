"""The table: every command of the documents, in the situation that its page describes."""

from __future__ import annotations

from . import situations as on
from .case import Ends, Meanwhile, NotProvoked, NotTyped, Scenario, Shown, Typed
from .stage import HEAD, VICTIM

README, LAB, REPORT = "README.md", "docs/lab.md", "docs/report.md"
OWN, DAY_TWO, MEASURED = "docs/own-cluster.md", "docs/day-two.md", "docs/measurements.md"
BOOKS = "docs/runbooks"
RETIRE, FOREIGN = f"{BOOKS}/retire-a-host.md", f"{BOOKS}/foreign-head.md"
ENGINE, DRIFT, LOCK = f"{BOOKS}/engine-does-not-start.md", f"{BOOKS}/drift.md", f"{BOOKS}/lock-held.md"
DEPLOY = "pyinfra inventory.py deploy.py"
FETCH = (
    "root@HOST# /usr/local/bin/gx10-host content fetch --to {to} --manifest .gx10-manifest.json "
    "--url http://198.51.100.12:8730/models/MODEL"
)
AGREES = "\n"
YES = "y\n"
SERVING = r"gang: serving \w+\.\d+"
IN_SYNC = r"lab: in sync"
ANSWERED = r"nvidia/nemotron-3-ultra: .*\(\d+ tokens in [\d.]+ s\)"

SCENARIOS = (
    # README
    Scenario(
        README,
        "a fresh checkout",
        on.fresh_checkout,
        (
            Typed("Quick start", "make help", 0, r"help .* install .* demo .* test .* lock .* clean"),
            Typed("Your own cluster", "make install"),
        ),
        quick=True,
        serving=False,
    ),
    Scenario(
        OWN,
        "a fresh checkout",
        on.fresh_checkout,
        (
            Typed(
                "Put in place what is not downloaded",
                "make reconcile-wheels",
                0,
                r"\d+ wheels in dist/reconcile-wheels",
            ),
        ),
        quick=True,
        serving=False,
    ),
    Scenario(
        README,
        "clusters/mine.yaml is an unedited copy",
        on.unedited,
        (
            Typed("Your own cluster", "export GX10_CLUSTER=mine"),
            Typed("Your own cluster", DEPLOY, 64, r"clusters/mine\.yaml:\d+", answer=AGREES, terminal=True),
        ),
        quick=True,
        serving=False,
    ),
    Scenario(
        README,
        "clusters/mine.yaml describes the hosts",
        on.edited,
        (
            Typed("Your own cluster", "export GX10_CLUSTER=mine"),
            Typed("Your own cluster", DEPLOY, 0, r"gx10-1.*gx10-4", answer=AGREES, terminal=True),
        ),
    ),
    Scenario(
        OWN,
        "clusters/mine.yaml describes the hosts",
        on.edited,
        (Typed("Deploy", f"{DEPLOY} -y 2> FILE", 0, "^$", fill={"FILE": "/dev/null"}),),
    ),
    Scenario(
        README,
        "the cluster serves",
        on.serving,
        (
            Typed("gx10", DEPLOY, 0, "", answer=AGREES, terminal=True),
            Typed("Day two", "gx10 status", 0, SERVING),
            Typed("Day two", 'gx10 chat "Why is the sky blue?"', 0, ANSWERED),
            Typed("Day two", f"{DEPLOY} --dry", 0, r"Note the description that is applied +- +-"),
            Typed("Day two", "gx10 plan", 0, IN_SYNC),
            Typed("Day two", "gx10 reconcile", 0, IN_SYNC),
            Typed("Day two", 'gx10 suspend "new switch" --until 3d', 0, r"Suspended until 20\d\d-"),
            Typed("Day two", "gx10 resume", 0, "Runs change things again"),
            Typed("Day two", "gx10 history", 0, r"reconcile +in sync .* plan +in sync"),
            Typed("Day two", "gx10 diff -2 -1"),
            Typed("Day two", "gx10 why", 0, r"The gang serves as \w+\.\d+"),
            Typed("Day two", "gx10 logs", 0, r"gx10-1 engine \w{8}\.\d+ "),
        ),
        quick=True,
    ),
    Scenario(
        DAY_TWO,
        "the cluster serves",
        on.serving,
        (
            Typed("Weights", "gx10 models list", 0, r"gx10-4 +tiny-qwen3-moe +model"),
            Typed("Weights", "gx10 models plan", 0, r"gx10-4 +0\.00 beside [\d.]+ GB that are free"),
            Typed("Weights", "gx10 models clean", 0, r"gx10-4 +0\.00 beside [\d.]+ GB that are free"),
            Typed("Weights", "gx10 models verify", 0, r"gx10-4: "),
            Typed("Weights", "gx10 models fetch"),
            Typed("The image", "gx10 images list", 0, r"gx10-4"),
            Typed("The image", "gx10 images verify", 0, "The image is the same on every host"),
            Typed("The image", "gx10 images restore"),
            Typed("The image", "gx10 images gc --dry", 0, r"\d+ things, [\d.]+ GB would go"),
        ),
        quick=True,
    ),
    Scenario(
        README,
        "the gang is restarted by hand",
        on.serving,
        (
            Typed("Day two", "gx10 restart", 0, r"serving \w+\.\d+"),
            Typed("Day two", "gx10 stop"),
            Typed("Day two", "gx10 start", 0, r"serving \w+\.\d+"),
            Typed("Day two", "gx10 verify", 0, r"\d+ passed"),
        ),
    ),
    Scenario(
        MEASURED,
        "the cluster serves",
        on.serving,
        (
            Typed(
                "The control node and the night",
                "make bench-noop",
                (0, 2),
                r"wall +median [\d.]+ s.*commands .* changed 0 operations",
            ),
        ),
    ),
    Scenario(
        README,
        "another recipe is written",
        on.serving_another,
        (
            Typed("Day two", "gx10 serve RECIPE", 0, "", fill={"RECIPE": "lab-other"}),
            Typed("Day two", "gx10 status", 0, SERVING),
        ),
    ),
    Scenario(
        DAY_TWO,
        "nothing is asked for that is not locked",
        on.fresh_checkout,
        (Typed("The image", "gx10 images lock vllm-node", 0, r"images/vllm-node\.lock is up to date"),),
        serving=False,
    ),
    # The lab and the reports
    Scenario(
        LAB,
        "a checkout without a lab",
        on.own_lab,
        (
            Typed("What it needs", "gx10 lab up", 0, "gx10-1, gx10-2, gx10-3, gx10-4 are up"),
            Typed("Commands", "gx10 lab up", 0, "gx10-1, gx10-2, gx10-3, gx10-4 are up"),
            Typed("Commands", "gx10 lab status", 0, r"gx10-4 +on +connected +connected +answers"),
            Typed("Commands", "gx10 lab ssh gx10-2", 0, "gx10-2", answer="hostname\n"),
            Typed("Commands", "ssh -F .lab/ssh/config gx10-2", 0, "gx10-2", answer="hostname\n"),
            Typed("Commands", "gx10 lab power-off gx10-3"),
            Meanwhile(lambda stage: stage.until("gx10 lab status", r"gx10-3 +off")),
            Typed("Commands", "gx10 lab power-on gx10-3"),
            Meanwhile(lambda stage: stage.until("gx10 lab status", r"gx10-3 +on +connected")),
            Typed("Commands", "gx10 lab cut gx10-2 fabric"),
            Meanwhile(lambda stage: stage.until("gx10 lab status", r"gx10-2 +on +connected +cut")),
            Typed("Commands", "gx10 lab mend gx10-2"),
            Meanwhile(lambda stage: stage.until("gx10 lab status", r"gx10-2 +on +connected +connected")),
            Typed("Commands", "gx10 lab down", 0, "The lab is gone"),
        ),
        serving=False,
    ),
    Scenario(
        LAB,
        "nothing is asked for that is not locked",
        on.fresh_checkout,
        (Typed("What it is", "gx10 images lock lab-vllm-node", 0, r"requirements\.lock is up to date"),),
        serving=False,
    ),
    Scenario(
        REPORT,
        "the cluster serves",
        on.serving,
        (
            Typed("Reports, metrics and the hook", "gx10 plan", 0, IN_SYNC),
            Typed("Reports, metrics and the hook", "gx10 reconcile", 0, IN_SYNC),
            Typed("Where", "gx10 history --show -1", 0, IN_SYNC),
            Typed("Where", "gx10 diff -2 -1"),
            Typed("The hook", "gx10 reconcile", 0, IN_SYNC),
        ),
    ),
    Scenario(
        REPORT,
        "a night has run where it is installed",
        on.night_has_run,
        (Typed("On the reconciler's host", "sudo /opt/gx10/bin/gx10 history", 0, r"reconcile +\w+", at=HEAD),),
    ),
    Scenario(f"{BOOKS}/README.md", "the cluster serves", on.serving, (Typed("Runbooks", "gx10 status", 0, SERVING),)),
    # Disks, Docker, logins
    Scenario(
        f"{BOOKS}/disk-full.md",
        "the archive's file system is full",
        on.disk_full,
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown(
                "gx10-3: has 4.2 GiB free in /var/lib/docker, 20 GiB must stay free (host.min_free_gib). Remove 15.8 "
                "GiB there."
            ),
            Typed("Do", "root@HOST# df -h /var/lib/docker /var/lib/gx10 /srv/models", 0, "Avail"),
            Typed("Do", "gx10 images gc --dry", 0, "would go"),
            Typed("Do", "gx10 images gc", 0, "gone"),
            Typed("Do", "gx10 models plan"),
            Typed("Do", "gx10 models clean"),
            Meanwhile(lambda stage: stage.run(VICTIM, f"umount {on.ARCHIVE}")),
            Meanwhile(lambda stage: stage.serves()),
            Typed("Check", "root@HOST# df -h /var/lib/docker /var/lib/gx10 /srv/models", 0, "Avail"),
        ),
    ),
    Scenario(
        f"{BOOKS}/disk-full.md",
        "a worker has no room for what is to come",
        on.no_room_for_a_transfer,
        (
            Ends(FETCH.format(to="/srv/full").replace("MODEL", on.MODEL), 1),
            Shown("… needs 34.1 GB more in /srv/models, 20.3 GB are free, 13.8 GB are missing."),
        ),
    ),
    Scenario(
        f"{BOOKS}/docker-stopped.md",
        "Docker is stopped on a worker",
        on.docker_stopped,
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown("gx10-3: Docker does not answer: … Start it with systemctl start docker and run again."),
            Meanwhile(lambda stage: stage.until("gx10 status", "waits: gx10-3: Docker does not answer")),
            Shown("gx10-3: Docker does not answer", ENGINE),
            Typed("Do", "root@gx10-3# systemctl status docker; journalctl -u docker -n 50", 0, r"inactive \(dead\)"),
            Typed("Do", "root@gx10-3# systemctl restart docker"),
            Meanwhile(lambda stage: stage.serves()),
            Typed("Check", "root@gx10-3# docker info", 0, "Storage Driver: overlay2"),
            Typed("Check", "gx10 status", 0, SERVING),
        ),
    ),
    Scenario(
        f"{BOOKS}/host-unreachable.md",
        "a worker's management cable is out",
        on.cable_out("management"),
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown("gx10-3 (192.0.2.13) cannot be logged in to: …"),
            Shown("Is it powered on and is its management cable in?"),
            Typed("Symptom", "gx10 status", 1, r"gx10-3 +unreachable.* unknown +unknown"),
            Shown("the way to it ended before it answered"),
            Typed("Do", "ssh root@192.0.2.13 true", 255),
            Meanwhile(on.mended),
            Typed("Do", "ssh root@192.0.2.13 true"),
            Typed(
                "Do",
                "ssh -F FILE -i KEY -p PORT root@192.0.2.13 true",
                0,
                "",
                fill={"FILE": ".lab/ssh/config", "KEY": ".lab/ssh/id_ed25519", "PORT": "22"},
            ),
            Meanwhile(lambda stage: stage.serves()),
            Typed("Check", "gx10 status", 0, r"gx10-3 +yes.*" + SERVING),
        ),
        quick=True,
    ),
    Scenario(
        f"{BOOKS}/host-unreachable.md",
        "a worker does not know this node's key",
        on.key_unknown,
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown("Put this node's public key into that user's authorized_keys"),
        ),
    ),
    Scenario(
        f"{BOOKS}/host-unreachable.md",
        "a worker has another host key",
        on.known_hosts_with(on.another_key),
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown("compare its key on its console"),
            Typed(
                "Do",
                "root@HOST# ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
                0,
                r"256 SHA256:\S+",
                fill={"HOST": "gx10-2"},
            ),
            Typed("Do", "ssh-keygen -R 192.0.2.13", 0, "known_hosts updated"),
        ),
    ),
    Scenario(
        f"{BOOKS}/host-unreachable.md",
        "nobody ever logged in to a worker",
        on.known_hosts_with(on.no_key),
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown("Log in once with ssh to accept its key"),
        ),
    ),
    Scenario(
        f"{BOOKS}/host-unreachable.md",
        "a host's name in the ssh configuration does not resolve",
        on.name_unknown,
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown("Correct the host's address in the cluster file"),
        ),
    ),
    Scenario(
        f"{BOOKS}/host-unreachable.md",
        "the head falls silent while a command runs",
        on.head_silent_meanwhile,
        (Shown("the connection was lost while a command ran"),),
    ),
    Scenario(
        f"{BOOKS}/host-unreachable.md",
        "the lab is meant and is not up",
        on.no_lab_here,
        (
            Ends("gx10 plan", 64),
            Shown("found '.lab/ssh/config', but there is no such file on this node"),
        ),
        serving=False,
    ),
    Scenario(
        f"{BOOKS}/host-unreachable.md",
        "a checkout without a lab",
        on.own_lab,
        (Typed("What it means", "gx10 lab up", 0, "are up"),),
        serving=False,
    ),
    # The image
    Scenario(
        f"{BOOKS}/image-missing.md",
        "no container ran, and the images were pruned",
        on.image_lost,
        (
            Typed("What it means", "docker image prune -a", 0, "(?i)deleted", answer=YES, at=VICTIM),
            Meanwhile(on.start_that_waits),
            Meanwhile(lambda stage: stage.until("gx10 status", "waits: gx10-3: image")),
            Typed("Symptom", "gx10 status", 1, r"gx10-3 +yes +missing"),
            Shown("waits: gx10-3: image … is missing"),
            Shown("image … is missing", ENGINE),
            Typed("Do", "gx10 images list", 2),
            Typed("Do", "gx10 images restore"),
            Meanwhile(lambda stage: stage.aside("gx10 stop")),
            Meanwhile(on.another_image),
            Typed("Symptom", "gx10 status", 1, r"gx10-3 +yes +other inputs"),
            Shown("other inputs"),
            Typed("Do", "gx10 images build"),
            Typed("Do", "root@HOST# systemctl restart docker"),
            Meanwhile(lambda stage: stage.serves()),
            Typed("Do", "gx10 images verify", 0, "The image is the same on every host"),
            Typed("Check", "gx10 images verify", 0, "The image is the same on every host"),
            Typed("Check", "gx10 status", 0, SERVING),
            Typed("Check", "gx10 verify -k image", 0, r"\d+ passed"),
        ),
    ),
    Scenario(
        f"{BOOKS}/disk-full.md",
        "no container ran, and the images were pruned",
        on.image_lost,
        (
            Typed("What it means", "docker image prune -a", 0, "(?i)deleted", answer=YES, at=VICTIM),
            Meanwhile(lambda stage: stage.until("gx10 status", r"gx10-3 +yes +missing")),
        ),
    ),
    Scenario(
        f"{BOOKS}/torch-trap.md",
        "a Dockerfile without its guards",
        on.torch_trap,
        (
            Shown("image refused: torch is 2.10.0+cpu, expected exactly 2.11.0+cu130. …"),
            Typed("Do", "pytest tests/unit/test_image_pins.py", 0, r"\d+ passed"),
            Typed("Do", "gx10 images lock NAME", 0, "up to date"),
            Typed("Check", "root@HOST# docker run --rm IMAGE python3 /opt/gx10/prove_image.py --quick", 0, '"torch"'),
            Shown('"torch": "2.11.0+cu130", "cuda": "13.0"'),
            Typed("Check", "gx10 verify -k image", 0, r"\d+ passed"),
        ),
    ),
    # Weights
    Scenario(
        f"{BOOKS}/weights-damaged.md",
        "weights are touched, lost and flipped",
        on.weights_damaged,
        (
            Meanwhile(on.weights_touched),
            Typed("Symptom", "gx10 status", 1, r"gx10-3 .*1 unproven of 8 files"),
            Shown("3 unproven of 120 files"),
            Meanwhile(on.weights_flipped),
            Typed("Symptom", "gx10 models verify", 2, "absent or damaged files"),
            Typed("Symptom", "gx10 verify", 2, "absent or damaged files"),
            Typed("Do", "gx10 models verify --full", 2, r"gx10-1: .*2 absent or damaged files.*gx10-3: .*1 absent"),
            Shown("absent or damaged files"),
            Typed("Do", "gx10 models fetch"),
            Typed("Check", "gx10 models verify --full"),
            Meanwhile(on.weights_lost_on_one_host),
            Typed(
                "Do",
                FETCH.format(to="/srv/models/MODEL"),
                0,
                r"MB|GB",
            ),
            Typed("Do", "gx10 restart", 0, r"serving \w+\.\d+"),
            Typed("Check", "gx10 verify -k weights", 0, r"\d+ passed"),
            Typed("Check", "gx10 chat", 0, ANSWERED),
        ),
    ),
    Scenario(
        f"{BOOKS}/weights-do-not-fit.md",
        "a recipe's weights are too large",
        on.old_model,
        (
            Typed("Symptom", "gx10 serve RECIPE", 1, "does not fit into", fill={"RECIPE": "lab-other"}),
            Shown("nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-NVFP4 does not fit into /srv/models on gx10-2 (GiB):"),
            Shown("host    need  stay free    have  would be freed  short by"),
            Shown("gx10-1  0.00      20.00  310.40            0.00      0.00"),
            Shown("gx10-2  329.00    20.00  261.70           70.10     17.20"),
            Typed("Do", "gx10 models list", 0, r"org/old-model"),
            Typed("Do", "gx10 models plan"),
            Typed("Do", "gx10 models clean"),
            Typed("Do", "gx10 models clean --named org/old-model", 0, r"gx10-3: removed 1", answer=YES),
            Typed("Check", "gx10 models plan"),
            Ends(f"{DEPLOY} -y", 0),
            Shown("Find room for the weights"),
        ),
    ),
    # The gang
    Scenario(
        f"{BOOKS}/engine-does-not-start.md",
        "a worker's fabric cable is out",
        on.cable_out("fabric"),
        (
            Meanwhile(on.waits),
            Typed("Symptom", "gx10 status", 1, r"activating|inactive|failed"),
            Typed("What it means", "gx10 status", 1, r"gx10-3 does not answer over the fabric"),
            Shown("gx10-3 does not answer over the fabric"),
            Typed("What it means", "gx10 why", 2, r"It waits: .*gx10-3"),
            Typed("What it means", "gx10 logs", 0, r"gx10-1 gx10-gang"),
            Typed("Do", "gx10 why", 2, r"It waits: .*gx10-3"),
            Typed("Do", "gx10 logs --since -15min", 0, r"gx10-1 gx10-gang"),
            Typed("Do", "root@HOST# ip -br addr", 0, r"fabric0\S* +DOWN|fabric0\S* +LOWERLAYERDOWN"),
            Typed("Do", "root@HOST# docker ps", 0, "CONTAINER ID"),
            Typed("Do", "root@HOST# ps -eo rss,pid,args --sort=-rss | head", 0, r"RSS +PID +COMMAND"),
            Typed("Do", "root@HOST# systemctl status gx10-gang; ip -br addr", 0, r"active \(running\)"),
            Typed("Do", "root@HOST# /usr/local/bin/gx10-host ranks list"),
            Typed("Do", "gx10 stop"),
            Ends("gx10 chat", 1),
            Shown("completion: … did not answer: …"),
            Meanwhile(on.mended),
            Typed("Do", "gx10 start", 0, r"serving \w+\.\d+"),
            Typed("Do", "gx10 verify -k image", 0, r"\d+ passed"),
            Typed("Do", "gx10 restart --drain-timeout 0", 0, r"serving \w+\.\d+"),
            Shown("gx10-3 still ends …"),
            Ends("gx10 logs --since -15min"),
            Shown("rank gate: waiting: the Ray head does not answer at …"),
            Shown("gang gate: waiting for 0 of 4 GPUs in use: Ray does not answer (…)"),
            Shown("… Ray has 0 of 3 GPUs in use"),
            Typed("Check", "root@HEAD# systemctl is-active vllm-engine", 0, "^active$"),
            Typed("Check", "gx10 verify", 0, r"\d+ passed"),
        ),
    ),
    Scenario(
        ENGINE,
        "a worker has too little memory left",
        on.memory_short,
        (
            Meanwhile(on.waits),
            Shown("gx10-3: … GiB of memory are available, a rank needs …"),
        ),
        serving=False,
    ),
    Scenario(
        ENGINE,
        "a worker's fabric address is down",
        on.address_down,
        (
            Meanwhile(lambda stage: stage.until("gx10 status", "waits: gx10-1: fabric address")),
            Shown("gx10-3: fabric address … is not up"),
            Shown("… cannot be reached over the fabric"),
        ),
        serving=False,
    ),
    Scenario(
        ENGINE,
        "hosts describe different generations",
        on.generations_differ,
        (
            Meanwhile(lambda stage: stage.until("gx10 status", "waits: hosts describe different generations")),
            Shown("hosts describe different generations"),
        ),
        serving=False,
    ),
    Scenario(
        f"{BOOKS}/gang-gave-up.md",
        "whatever rank a worker starts is killed",
        on.rank_that_always_dies,
        (
            Ends("gx10 restart", 2),
            Shown("gang: the budget is spent: … gx10 why says more.", ENGINE),
            Typed("Symptom", "gx10 status", 1, "the budget is spent"),
            Shown("gang: failed … the budget is spent"),
            Shown("the budget is spent: 4 attempts"),
            Typed("Do", "gx10 why", 2, r"The budget was spent .* First to end was"),
            Typed("Do", "gx10 why --full", 2, r"First to end was"),
            Typed("Do", "gx10 logs --since -2h", 0, r"gx10-3 "),
            Typed("What it means", 'gx10 suspend "new switch"', 0, "Suspended until"),
            Typed("Do", 'gx10 suspend "new switch"', 0, "Suspended until"),
            Meanwhile(lambda stage: stage.aside("gx10 resume")),
            Meanwhile(on.killer_stopped),
            Typed("Do", "gx10 start", 0, r"serving \w+\.\d+"),
            Typed("Do", "gx10 start --full", 0, r"serving \w+\.\d+"),
            Typed("Check", "gx10 status", 0, SERVING),
        ),
    ),
    Scenario(
        f"{BOOKS}/gang-gave-up.md",
        "a start runs out of memory",
        on.out_of_memory,
        (
            Meanwhile(on.serves_with_a_fallback),
            Shown("fallback 1 (without multi-token prediction)"),
            Shown("fallback N (NAME)"),
            Typed("Do", "gx10 start --full", 0, r"serving \w+\.\d+"),
            Typed("Check", "gx10 status", 0, SERVING),
        ),
    ),
    Scenario(
        f"{BOOKS}/gang-gave-up.md",
        "the generation that was deployed last cannot start",
        on.new_generation_dies,
        (
            Ends(f"{DEPLOY} -y", 1, "was put back"),
            Meanwhile(lambda stage: stage.until("gx10 status", "was put back")),
            Shown("… did not start and … was put back"),
            Shown("G2 did not start and G1 was put back"),
        ),
    ),
    Scenario(
        f"{BOOKS}/wrong-generation.md",
        "a deploy ended before it restarted the gang",
        on.unit_edited,
        (
            Typed("Symptom", "gx10 status", 1, "active, older generation"),
            Shown("active, older generation"),
            Typed("Symptom", "gx10 verify", 2, "hosts describe different generations"),
            Shown("hosts describe different generations"),
            Typed("Do", f"{DEPLOY} --dry", 0, r"gx10-1"),
            Typed("Do", DEPLOY, 0, "", answer=AGREES, terminal=True),
            Typed("Check", "gx10 status", 0, r"active +serves .*" + SERVING),
            Typed("Check", "gx10 verify -k generation", 0, r"\d+ passed"),
        ),
    ),
    Scenario(
        f"{BOOKS}/interface-names-changed.md",
        "the described interface is on no host",
        on.described_otherwise(("interface: fabric0", "interface: enp1s0f0np0")),
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown(
                "gx10-3: has no interface enp1s0f0np0. Is the fabric cable in? Correct networks.fabric in the cluster "
                "file to one of: …"
            ),
            Typed("Do", "root@HOST# ip -br link; ip -br addr", 0, r"fabric0\S* +UP"),
        ),
        quick=True,
    ),
    Scenario(
        f"{BOOKS}/interface-names-changed.md",
        "a worker's interface has no address",
        on.address_missing,
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown("has no address on enp1s0f0np0, expected 198.51.100.13."),
        ),
    ),
    Scenario(
        f"{BOOKS}/interface-names-changed.md",
        "names are corrected",
        on.serving,
        (Typed("Check", "gx10 verify -k ports", 0, r"\d+ passed"),),
    ),
    # Runs
    Scenario(
        f"{BOOKS}/drift.md",
        "a file was edited and another added",
        on.drifted,
        (
            Typed("Symptom", "gx10 plan", 2, r"would be put back: .*90-gx10\.conf.* to be looked at: .*mine\.conf"),
            Typed("Symptom", "gx10 reconcile", 2, r"put back: .*90-gx10\.conf.* to be looked at: .*mine\.conf"),
            Shown("to be looked at"),
            Shown("touched on the host"),
            Typed("Do", "gx10 plan", 2, "to be looked at"),
            Typed("Do", DEPLOY, 0, "", answer=AGREES, terminal=True),
            Meanwhile(on.theirs_moved),
            Typed("Do", "gx10 reconcile", 0, IN_SYNC),
            Typed("Check", "gx10 plan", 0, IN_SYNC),
        ),
    ),
    Scenario(
        f"{BOOKS}/drift.md",
        "a file is edited night after night",
        on.drifted,
        (
            Meanwhile(lambda stage: stage.aside("gx10 reconcile")),
            Meanwhile(on.came_back_on_two_nights),
            Typed("Do", "gx10 reconcile", 2, r"left alone: .*came back on 3 nights in a row"),
            Shown("left alone"),
            Shown("came back on 3 nights in a row"),
            Meanwhile(on.could_not_be_put_back_before),
            Ends("gx10 reconcile", 2),
            Shown("could not be put back several times"),
            Meanwhile(on.put_back_by_hand),
        ),
    ),
    Scenario(
        f"{BOOKS}/drift.md",
        "a night has run where it is installed",
        on.night_has_run,
        (
            Typed("Do", "root@HOST# runuser -u gx10-reconcile -- /opt/gx10/bin/gx10 history --show -1", 0, "lab: "),
            Typed(
                "Do",
                "root@HOST# systemctl status gx10-reconcile.timer gx10-reconcile.service",
                (0, 3),
                r"gx10-reconcile\.timer",
            ),
            Typed("Do", "root@HOST# journalctl -u gx10-reconcile", 0, "gx10"),
        ),
    ),
    Scenario(
        f"{BOOKS}/restart-pending.md",
        "the gang's description moved and the window is closed",
        on.restart_due,
        (
            Ends("gx10 reconcile", 2),
            Shown("put off"),
            Shown("put off", DRIFT),
            Shown("described anew", DRIFT),
            Shown("the window is closed"),
            Typed("Do", "gx10 history --show -1", 0, r"put off: .*the window is closed"),
            Typed("Do", "gx10 reconcile --any-time", 0, "put back with a restart of the gang"),
            Typed("Check", "gx10 plan", 0, IN_SYNC),
        ),
    ),
    Scenario(
        f"{BOOKS}/restart-pending.md",
        "a container runs otherwise than its unit says",
        on.unit_edited,
        (
            Typed("Symptom", "gx10 status", 1, "active, older generation"),
            Shown("active, older generation"),
            Shown("older generation"),
            Typed("Do", f"{DEPLOY} -y"),
            Typed("Check", "gx10 status", 0, SERVING),
        ),
    ),
    Scenario(
        f"{BOOKS}/restart-pending.md",
        "the window closes too soon",
        on.window_about_to_close,
        (
            Ends("gx10 reconcile", 2),
            Shown("the window closes in"),
        ),
    ),
    Scenario(
        f"{BOOKS}/restart-pending.md",
        "a request runs for longer than it is waited for",
        on.long_request,
        (
            Ends("gx10 reconcile --no-sample", 2),
            Shown("requests still ran or waited"),
        ),
    ),
    Scenario(
        f"{BOOKS}/lock-held.md",
        "another run holds the lock and does nothing any more",
        on.lock_held,
        (
            Ends(f"{DEPLOY} -y", 1),
            Shown("gx10-1 is locked by ada@desk, process 4711: a deploy by hand, since …"),
            Typed("Symptom", "gx10 plan", 75, r"gx10-1 is locked by \S+@\S+, process \d+: a deploy by hand, since"),
            Typed("Symptom", "gx10 reconcile", 75, r"is locked by \S+@\S+, process \d+: a deploy by hand, since"),
            Typed("Do", "ps -p 4711", 0, r"python"),
            Typed("Do", "gx10 unlock", 0, r"(?i)lock"),
            Typed("Check", "gx10 plan", 0, IN_SYNC),
        ),
        quick=True,
    ),
    Scenario(
        LOCK,
        "what keeps the lock on the head was killed",
        on.lock_held_by_the_dead,
        (
            Typed("What it means", "gx10 reconcile", 0, IN_SYNC),
            Shown("Took over the lock of …"),
        ),
    ),
    Scenario(
        f"{BOOKS}/suspended.md",
        "somebody suspended the runs",
        on.suspended_by_somebody,
        (
            Typed("Symptom", "gx10 reconcile", 0, r"suspended by \S+ until"),
            Shown("suspended by ada until …"),
            Typed("Symptom", "gx10 status", 0, r"suspended by"),
            Typed("Do", "gx10 status", 0, r"suspended by"),
            Typed("Do", "gx10 history --show -1", 0, r"suspended by \S+ until .*swapping a disk"),
            Typed("Do", "gx10 resume", 0, "Runs change things again"),
            Typed("Check", "gx10 reconcile", 0, IN_SYNC),
            Typed("What it means", 'gx10 suspend "new switch"', 0, "Suspended until"),
            Meanwhile(on.suspension_damaged),
            Ends("gx10 reconcile", 1),
            Shown("the suspension on the head cannot be read"),
            Typed("Do", "gx10 resume", 0, "Runs change things again"),
            Typed("Do", 'gx10 suspend "swapping the disk of gx10-3" --until 3d', 0, "Suspended until"),
        ),
    ),
    Scenario(
        f"{BOOKS}/suspended.md",
        "a gang that was stopped",
        on.serving,
        (
            Typed("Do", "gx10 stop"),
            Ends("gx10 reconcile", 0, "put back"),
        ),
    ),
    # Hosts that leave, heads that come back
    Scenario(
        RETIRE,
        "a worker left the cluster file",
        on.host_left,
        (
            Ends(f"{DEPLOY} -y"),
            Shown("gx10-4: no longer described: …"),
            Shown("no longer described", DRIFT),
            Typed("Symptom", "gx10 plan", 2, "gx10-4: no longer described"),
            Meanwhile(on.left_is_noted),
            Typed("Do", "gx10 retire gx10-4", 0, r"gx10-4 .*Nothing was touched"),
            Typed("Do", "gx10 retire gx10-4 --yes", 0, "gx10-4 is retired"),
            Typed("Do", "gx10 retire gx10-4 --address 192.0.2.14", 0, r"gx10-4"),
            Meanwhile(on.known_again),
            Typed("Do", "gx10 retire gx10-4 --weights --yes", 0, "gx10-4 is retired"),
            Meanwhile(on.known_again),
            Typed("Do", "gx10 retire gx10-4 --forget", 0, "gx10-4 is forgotten"),
            Typed("Check", "gx10 retire gx10-4 --address 192.0.2.14", 0, "Nothing of this package stands there"),
            Shown("Nothing of this package stands there."),
            Typed("Check", "gx10 plan", 0, IN_SYNC),
        ),
        serving=False,
    ),
    Scenario(
        RETIRE,
        "nothing is agreed to",
        on.serving,
        (Typed("Do", "gx10 retire --all", 0, "gx10-1"),),
    ),
    Scenario(
        README,
        "nothing is agreed to",
        on.serving,
        (
            Typed("Day two", "gx10 retire --all", 0, "gx10-1"),
            Typed("Day two", "gx10 retire HOST", 64, r"gx10-3 is described in \S+\. Take it out"),
        ),
    ),
    Scenario(
        FOREIGN,
        "another host takes itself for the head",
        on.foreign_head,
        (
            Meanwhile(on.foreign_orders),
            Typed("Symptom", "gx10 why", 2, "foreign head"),
            Typed("Symptom", "gx10 status", 1, "foreign head .*orders to"),
            Shown("gx10-1 (10.77.1.11, cluster lab): 21 orders to gx10-2, gx10-3 …; all were refused"),
            Shown("gx10-3 obeys gx10-2 (10.77.1.12) of cluster lab, not this head"),
            Shown("gx10-3 obeys gx10-2 (…) …, not this head", ENGINE),
            Typed("Do", "root@FOREIGN# systemctl disable --now gx10-gang"),
            Typed("Do", "gx10 status", 1, "gang: "),
            Meanwhile(lambda stage: stage.serves()),
            Typed("What it means", "gx10 start", 0, r"serving \w+\.\d+"),
            Typed("Check", "gx10 why", 0, r"A foreign head, gx10-2 .* the last \S+ \S+ ago"),
        ),
    ),
)

HOURS = "It is a test or a measurement of its own, of up to hours, whose figures are published with its bound."
NOT_TYPED = (
    NotTyped(
        README, "make demo", "It makes a lab of its own from nothing; `make bench-demo` types it and says what it took."
    ),
    NotTyped(README, "make test", "It is what types the quick part of this page, and would type itself."),
    NotTyped(
        LAB, "make demo", "It makes a lab of its own from nothing; `make bench-demo` types it and says what it took."
    ),
    NotTyped(LAB, "make test", "It is what types the quick part of this page, and would type itself."),
    NotTyped(
        LAB, "gx10 lab up --hosts 2", "The lab that types has four hosts, and a smaller one is only made from none."
    ),
    *(
        NotTyped(MEASURED, f"make {name}", HOURS)
        for name in ("bench-demo", "bench-weights", "bench-image", "chaos", "chaos-long", "soak-gang", "night", "drift")
    ),
    NotTyped(
        OWN,
        "gx10 images lock vllm-node --wheels DIRECTORY",
        "The four wheels are for arm64, and two of them are on no public index.",
    ),
    NotTyped(
        f"{BOOKS}/docker-stopped.md",
        "root@gx10-3# nvidia-ctk runtime configure --runtime=docker && systemctl restart docker",
        "Lab hosts have no GPU and none of NVIDIA's tools.",
    ),
    NotTyped(
        RETIRE,
        "gx10 retire --all --weights --yes",
        "It takes everything off every host, whose lab must be deployed to anew; tests/unit/test_retire.py holds it.",
    ),
    NotTyped(
        f"{BOOKS}/interface-names-changed.md",
        "root@HOST# rdma link",
        "A lab host has no RDMA device, and the machine's kernel need not know of any.",
    ),
    NotTyped(
        f"{BOOKS}/drift.md",
        "root@HOST# auditctl -w FILE -p wa",
        "The kernel's audit belongs to the machine, and a lab host may not set its rules.",
    ),
    NotTyped(
        f"{BOOKS}/weights-damaged.md",
        "root@HOST# dmesg --level=err; smartctl -a /dev/nvme0",
        "A lab host has no disk of its own that could be asked how it is.",
    ),
)

KINDS = "The suite of kinds of drift (tests/night) brings it about, each kind by itself, and holds how it is told."
NOT_PROVOKED = (
    NotProvoked(DRIFT, "systemd reads it for UNIT", "gx10/operations/live.py", "systemd reads it for", KINDS),
    NotProvoked(DRIFT, "PARAMETER at the next boot", "gx10/operations/system.py", "at the next boot", KINDS),
    NotProvoked(DRIFT, "Docker daemon, …", "gx10/operations/daemon.py", "Docker daemon", KINDS),
    NotProvoked(DRIFT, "TABLE, chain CHAIN: RULE", "gx10/operations/live.py", ", chain", KINDS),
    NotProvoked(
        DRIFT, "something that nobody described", "gx10/operations/live.py", "something that nobody described", KINDS
    ),
    NotProvoked(
        f"{BOOKS}/gang-gave-up.md",
        "generation G1 is not put back, as it cannot serve here",
        "files/usr/local/lib/gx10_host/gang/conductor.py",
        "is not put back, as it cannot serve here",
        "It takes a cluster whose hosts have changed since the generation that served last.",
    ),
    NotProvoked(
        DRIFT,
        "not as predicted",
        "gx10/reconcile/words.py",
        "not as predicted",
        "It says that the package has a defect, so no situation may bring it about.",
    ),
    NotProvoked(ENGINE, "Timed out", "", "", "vLLM prints it, and the lab's model is too small to load for so long."),
    NotProvoked(
        f"{BOOKS}/gang-gave-up.md",
        "the budget is spent: 24 restarts within a day",
        "files/usr/local/lib/gx10_host/gang/conductor.py",
        "restarts within a day",
        "The lab's budget for a day is 1000 restarts, and they would take a day.",
    ),
    NotProvoked(
        f"{BOOKS}/image-missing.md",
        "Docker does not answer since. It was not restarted, because …",
        "files/usr/local/lib/gx10_host/image/load.py",
        "Docker does not answer since. It was not restarted, because",
        "A daemon that is wedged by a load cannot be had on request.",
    ),
    NotProvoked(
        f"{BOOKS}/torch-trap.md",
        "vLLM cannot be imported: libtorch_cuda.so: cannot open shared object file",
        "files/image/prove_image.py",
        "vLLM cannot be imported: {error}",
        "The lab's stand-in of vLLM has no library that could miss another.",
    ),
    NotProvoked(
        f"{BOOKS}/restart-pending.md",
        "a host does not answer",
        "gx10/drift/classify.py",
        "a host does not answer",
        "A host that goes away between a run's first look and its decision cannot be had on request.",
    ),
    NotProvoked(
        f"{BOOKS}/restart-pending.md",
        "is not done on",
        "gx10/drift/classify.py",
        "is not done on",
        "It takes weights or an image that cannot be put in place beside a gang that serves.",
    ),
)
