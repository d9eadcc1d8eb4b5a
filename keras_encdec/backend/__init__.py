"""The one place, beside `export`, that asks which Keras backend runs.

Everything else is written with `keras.ops`, and calls these where they truly differ.
"""

from keras_encdec.backend.choice import check_backend  # First, as it says.
from keras_encdec.backend.compilation import (
    compile_function,
    compile_train_step,
    inference_mode,
    traced_call,
    while_loop,
)
from keras_encdec.backend.dependencies import (
    Structure,
    are_the_same,
    key_of,
    variables_of,
)
from keras_encdec.backend.distribution import (
    data_replicas,
    refuse_replicas,
    require_distribution,
)
from keras_encdec.backend.environment import (
    import_tensorflow,
    running_backend,
)
from keras_encdec.backend.keras_masks import carried_mask
from keras_encdec.backend.kernels import (
    drop_out,
    first_of_largest,
    first_true,
    fused_attention,
    move_rows,
    replace_nan,
    take_of_each,
    write_at,
)
from keras_encdec.backend.layers import all_layers, layers_in
from keras_encdec.backend.optimizers import inner_optimizer, part_averages
from keras_encdec.backend.parallel_calls import calls_at_a_time, threads_sharing_cores
from keras_encdec.backend.random_state import random_state, set_random_state
from keras_encdec.backend.recently_used import RecentlyUsed
from keras_encdec.backend.rematerialization import rematerialized
from keras_encdec.backend.shortcuts import SHORTCUTS, without
from keras_encdec.backend.unset_variables import build_unset, draw_unset, set_value

__all__ = [
    "SHORTCUTS",
    "RecentlyUsed",
    "Structure",
    "all_layers",
    "are_the_same",
    "build_unset",
    "calls_at_a_time",
    "carried_mask",
    "check_backend",
    "compile_function",
    "compile_train_step",
    "data_replicas",
    "draw_unset",
    "drop_out",
    "first_of_largest",
    "first_true",
    "fused_attention",
    "import_tensorflow",
    "inference_mode",
    "inner_optimizer",
    "key_of",
    "layers_in",
    "move_rows",
    "part_averages",
    "random_state",
    "refuse_replicas",
    "rematerialized",
    "replace_nan",
    "require_distribution",
    "running_backend",
    "set_random_state",
    "set_value",
    "take_of_each",
    "threads_sharing_cores",
    "traced_call",
    "variables_of",
    "while_loop",
    "without",
    "write_at",
]
