"""Stand-ins of benchmarks' official files, written by other means than the readers'."""

import base64
import bz2
import json
import pickle

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorboardX.record_writer import RecordWriter


def metrics_class():
    """NAS-Bench-101's message, as its ``model_metrics.proto`` declares it."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="nasbench")
    evaluation = file.message_type.add(name="EvaluationData")
    names = ("current_epoch", "training_time", "train_accuracy")
    names += ("validation_accuracy", "test_accuracy")
    for number, name in enumerate(names, start=1):
        evaluation.field.add(
            name=name, number=number, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL
        )
    evaluation.field.add(
        name="checkpoint_path",
        number=6,
        type=field.TYPE_STRING,
        label=field.LABEL_OPTIONAL,
    )
    whole = file.message_type.add(name="ModelMetrics")
    whole.field.add(
        name="evaluation_data",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".nasbench.EvaluationData",
        label=field.LABEL_REPEATED,
    )
    whole.field.add(
        name="trainable_parameters",
        number=2,
        type=field.TYPE_INT32,
        label=field.LABEL_OPTIONAL,
    )
    whole.field.add(
        name="total_time", number=3, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("nasbench.ModelMetrics")
    return message_factory.GetMessageClass(found)


METRICS = metrics_class()


def training_record(matrix, operations, epochs, parameters, seconds, valid, test):
    """A record of NAS-Bench-101's file; `matrix` is rows of 0 and 1."""
    metrics = METRICS(trainable_parameters=parameters, total_time=2 * seconds)
    for share in (0.0, 0.5, 1.0):
        metrics.evaluation_data.add(
            current_epoch=share * epochs,
            training_time=share * seconds,
            train_accuracy=1.0 if share == 1 else 0.5,
            validation_accuracy=valid if share == 1 else 0.1,
            test_accuracy=test if share == 1 else 0.1,
            checkpoint_path=f"/models/model.ckpt-{share}",
        )
    text = "".join(str(int(x)) for row in matrix for x in row)
    encoded = base64.b64encode(metrics.SerializeToString()).decode()
    row = ["hash", epochs, text, ",".join(operations), encoded]
    return json.dumps(row).encode()


def write_tfrecord(path, records):
    """A TFRecord file."""
    writer = RecordWriter(str(path))
    for record in records:
        writer.write(record)
    writer.flush()
    writer.close()
    return path


SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}


def nats_accuracy(cell, dataset, part, epochs, seed):
    """Some number that tells all of these apart."""
    rng = np.random.default_rng([cell, len(dataset), len(part), epochs, seed])
    return float(rng.uniform(10, 90))


def nats_results(api_utils, cell, text, epochs):
    """Makes NATS-Bench's results: seeds 777 and 888, the first alone of 12 epochs."""
    results = api_utils.ArchResults(cell, text)
    for dataset, parts in SETS.items():
        for seed in (777, 888)[: 1 if epochs == 12 else 2]:
            each = range(epochs)
            one = api_utils.ResultsCount(
                dataset,
                None,
                dict.fromkeys(each, 99.0),
                dict.fromkeys(each, 0.1),
                1.0,
                2.0,
                {"arch_str": text},
                seed,
                epochs,
                [0.01],
            )
            one.reset_pseudo_train_times(2.0 + cell)
            for part in parts:
                found = nats_accuracy(cell, dataset, part, epochs, seed)
                keys = {f"{part}@{i}": 0.0 for i in each}
                last = {f"{part}@{epochs - 1}": found}
                one.update_eval(keys | last, keys, keys)
            results.update(dataset, seed, one)
    return results.state_dict()


def write_nats(path, tree):
    path.write_bytes(bz2.compress(pickle.dumps(tree, protocol=4)))


def write_nats_benchmark(place, infos, texts, name):
    """Writes a benchmark as NATS-Bench does: a folder, or one file of a name.

    Returns:
      The path of the one or the other.
    """
    meta = {"meta_archs": texts, "evaluated_indexes": list(infos)}
    if name:
        write_nats(place / name, meta | {"arch2infos": infos})
        return place / name
    write_nats(place / "meta.pickle.pbz2", meta)
    for i, info in infos.items():
        write_nats(place / f"{i:06d}.pickle.pbz2", info)
    return place


def assert_nats_accuracies(table, i, genotype, columns):
    """Requires of a table the mean accuracies of an architecture's official results.

    Args:
      columns: (column of the table, data set and part of NATS-Bench, seeds) of each.
    """
    for column, part, seeds in columns:
        each = [nats_accuracy(i, *part, column[2], seed) for seed in seeds]
        got = table.accuracy(genotype, *column)
        assert got == pytest.approx(np.mean(each), rel=1e-6), column
