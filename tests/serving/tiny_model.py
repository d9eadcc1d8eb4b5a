"""A SavedModel that knows no Keras, with signatures of every kind of tensor."""

import tensorflow as tf


def save_tiny_model(folder):
    """Writes it.

    `serving_default` makes texts upper case, `sample` hashes each with its seed,
    `types` returns what it takes in every dtype, `ranks` sums ids and adds to them, and
    `uneven` returns two outputs of different sizes.
    """
    tf.saved_model.save(
        tf.Module(),
        str(folder),
        signatures={
            "serving_default": function(upper, text=tf.string),
            "echo": function(echo, text=tf.string),
            "sample": function(sample, text=tf.string, seed=tf.int32),
            "types": function(
                types, small=tf.int32, large=tf.int64, real=tf.float32, flag=tf.bool
            ),
            "ranks": function(ranks, rank=2, ids=tf.int32),
            "uneven": function(uneven, text=tf.string),
            "positive": function(positive, number=tf.int32),
        },
    )
    return folder


def function(call, rank=1, **dtypes):
    specs = [
        tf.TensorSpec((None,) * rank, dtype, name) for name, dtype in dtypes.items()
    ]
    return tf.function(call, input_signature=specs, autograph=False)


def upper(text):
    return {"text": tf.strings.upper(text)}


def echo(text):
    return {"text": text, "text_bytes": text}


def sample(text, seed):
    key = tf.strings.join([text, tf.strings.as_string(seed)], separator="\0")
    draw = tf.strings.to_hash_bucket_fast(key, 1_000_003)
    score = tf.cast(draw, tf.float32) / 3.0
    texts = tf.stack([text, tf.strings.as_string(draw)], axis=1)
    return {"text": texts, "score": tf.stack([score, -score / 0.0], axis=1)}


def types(small, large, real, flag):
    return {
        "small": small,
        "large": large,
        "real": real,
        "double": tf.cast(real, tf.float64) / 3.0,
        "flag": flag,
    }


def ranks(ids):
    hidden = tf.cast(ids, tf.float32)[:, :, None] + tf.constant([0.25, 0.5, 0.1])
    return {"total": tf.reduce_sum(ids, axis=1), "hidden": hidden}


def uneven(text):
    return {"text": text, "twice": tf.concat([text, text], axis=0)}


def positive(number):
    with tf.control_dependencies([tf.debugging.assert_positive(number)]):
        return {"number": tf.identity(number)}
