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
    while_shapes_change,
)
from keras_encdec.backend.dependencies import (
    Structure,
    are_the_same,
    key_of,
    variables_of,
)
from keras_encdec.backend.distribution import (
    data_replica,
    data_replicas,
    divides_steps,
    no_strategy,
    part_random_numbers,
    refuse_replicas,
    shared_step_function,
    shared_test_step,
    shared_train_step,
    use_devices,
    whole_loss,
)
from keras_encdec.backend.environment import (
    import_tensorflow,
    lazy_tensorflow,
    running_backend,
    shapes_may_change,
)
from keras_encdec.backend.keras_masks import carried_mask
from keras_encdec.backend.kernels import (
    drop_out,
    first_of_largest,
    first_true,
    fused_attention,
    log_sum_exp,
    maxima_want_distance,
    move_rows,
    replace_nan,
    take_of_each,
    write_at,
)
from keras_encdec.backend.layers import all_layers, layers_in
from keras_encdec.backend.optimizers import inner_optimizer, part_averages
from keras_encdec.backend.parallel_calls import calls_at_a_time, threads_sharing_cores
from keras_encdec.backend.policies import policy_config
from keras_encdec.backend.processes import (
    any_process,
    assign,
    from_first,
    gathered,
    in_first_alone,
    join_processes,
    process_count,
    process_index,
    share_variables,
)
from keras_encdec.backend.random_state import (
    own_random_state,
    random_state,
    random_state_of_all,
    set_random_state,
)
from keras_encdec.backend.recently_used import RecentlyUsed
from keras_encdec.backend.rematerialization import rematerialized
from keras_encdec.backend.shortcuts import SHORTCUTS, without
from keras_encdec.backend.unset_variables import build_unset, draw_unset, set_value

__all__ = [
    "SHORTCUTS",
    "RecentlyUsed",
    "Structure",
    "all_layers",
    "any_process",
    "are_the_same",
    "assign",
    "build_unset",
    "calls_at_a_time",
    "carried_mask",
    "check_backend",
    "compile_function",
    "compile_train_step",
    "data_replica",
    "data_replicas",
    "divides_steps",
    "draw_unset",
    "drop_out",
    "first_of_largest",
    "first_true",
    "from_first",
    "fused_attention",
    "gathered",
    "import_tensorflow",
    "in_first_alone",
    "inference_mode",
    "inner_optimizer",
    "join_processes",
    "key_of",
    "layers_in",
    "lazy_tensorflow",
    "log_sum_exp",
    "maxima_want_distance",
    "move_rows",
    "no_strategy",
    "own_random_state",
    "part_averages",
    "part_random_numbers",
    "policy_config",
    "process_count",
    "process_index",
    "random_state",
    "random_state_of_all",
    "refuse_replicas",
    "rematerialized",
    "replace_nan",
    "running_backend",
    "set_random_state",
    "set_value",
    "share_variables",
    "shared_step_function",
    "shared_test_step",
    "shared_train_step",
    "take_of_each",
    "threads_sharing_cores",
    "traced_call",
    "use_devices",
    "variables_of",
    "while_loop",
    "while_shapes_change",
    "whole_loss",
    "without",
    "write_at",
    "shapes_may_change",
]
