"""Many sequences through one model on many machines: Ray Data with actors that hold the model.

    pip install amq "ray[data]"
    python ray_batches.py MODEL.amq [SEQUENCES]

MODEL is a language model such as fixtures/lstm/model.amq, whose last states are the result. It travels to the workers
as its bytes. What comes out of one process, of one worker, of two, and of two of which one is killed on its way is
compared to the bit, and timed.
"""
import logging
import os
import pathlib
import signal
import sys
import tempfile
import time

import amq
import numpy as np
import ray

SPAN, BATCH, BLOCKS = 32, 64, 32


def last_states(session, tokens):
    """States after the last token of each sequence: `tokens` is [sequences, tokens], the states [sequences, units]."""
    # The model takes [tokens, sequences].
    outputs = session.run({"tokens": np.ascontiguousarray(tokens.T)})
    return np.ascontiguousarray(outputs["hn"][0])


class Worker:
    """An actor: it takes the model once, then one batch of sequences after the other."""

    def __init__(self, model, killed):
        self.session = amq.Session(amq.Model(model))
        self.killed = killed

    def __call__(self, batch):
        # The first worker that gets there dies in the midst of its work, and leaves word that it did.
        if self.killed and 3 * BATCH in batch["id"] and not self.killed.exists():
            self.killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"id": batch["id"], "state": last_states(self.session, batch["tokens"])}


def with_workers(count, model, tokens, killed=None):
    rows = ray.data.from_items([{"id": int(i), "tokens": tokens[i]} for i in range(len(tokens))], override_num_blocks=BLOCKS)
    rows = rows.materialize()
    begun = time.perf_counter()
    done = rows.map_batches(
        Worker,
        fn_constructor_args=[model, killed],
        batch_size=BATCH,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=count),
    )
    states, found = None, []
    # Whole blocks: rows one by one would take a core from the workers.
    for block in done.iter_batches(batch_size=None):
        if states is None:
            states = np.empty((len(tokens), block["state"].shape[1]), np.float32)
        states[block["id"]] = block["state"]
        found.append(block["id"])
    seconds = time.perf_counter() - begun
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(len(tokens))), "a sequence is missing, or there twice"
    return states, seconds


def main(path, sequences=65536):
    model = pathlib.Path(path).read_bytes()
    sequences = int(sequences)
    classes = amq.Model(model).outputs[0].shape[-1]
    tokens = np.random.default_rng(1).integers(0, classes, (sequences, SPAN))
    session = amq.Session(amq.Model(model))
    begun = time.perf_counter()
    parts = [last_states(session, tokens[at : at + BATCH]) for at in range(0, sequences, BATCH)]
    expected = np.concatenate(parts)
    print(f"one process: {time.perf_counter() - begun:.1f} s")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    times = {}
    for count in (1, 2):
        states, times[count] = with_workers(count, model, tokens)
        assert states.tobytes() == expected.tobytes(), "other bits than those of one process"
        print(f"{count} worker{'s' if count > 1 else ''}: {times[count]:.1f} s, the same bits")
    print(f"two workers are {times[1] / times[2]:.2f} times as fast as one")
    with tempfile.TemporaryDirectory() as folder:
        killed = pathlib.Path(folder) / "killed"
        states, _ = with_workers(2, model, tokens, killed)
        assert killed.exists(), "no worker was killed"
        assert states.tobytes() == expected.tobytes(), "other bits than those of one process"
    print("one worker killed: nothing lost, the same bits")


if __name__ == "__main__":
    main(*sys.argv[1:])
