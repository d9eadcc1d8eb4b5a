"""Beam search: live and ended hypotheses kept apart, n-best, groups, constraints.

Legend of shapes: B batch, S source, V vocabulary, L largest length, K beams, G groups,
M candidates.
"""

import dataclasses
from typing import Literal

import keras
from keras import ops, tree

from keras_encdec.annotations import Tensor
from keras_encdec.backend import log_sum_exp, move_rows, take_of_each, write_at
from keras_encdec.generation.processors import constraints
from keras_encdec.generation.samplers.hypotheses import (
    NEVER,
    BeamState,
    Hypotheses,
    gather_hypotheses,
    in_parents_places,
    select_best,
    top_indices,
    without_repeats,
)
from keras_encdec.generation.samplers.interface import Sampler
from keras_encdec.generation.samplers.stop_rules import is_done
from keras_encdec.generation.samplers.top_k import top_k
from keras_encdec.generation.task import BROKEN, Generated, Task, repeat_rows
from keras_encdec.option_checks import require_one_of, require_positive


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class BeamSampler(Sampler):
    """Searches for the most likely sequences with several hypotheses at a time.

    At each step the best continuations of all live hypotheses are taken, enough that
    every one of them could end and K still live. Those among the best K that end leave
    for a pool of the K best ended hypotheses, where they pay no more; the best others
    live on. Beams share their source's keys and values; what is reordered is their ids
    and the target's cache.

    Args:
        num_beams: The number of live hypotheses K.
        length_penalty: The exponent alpha: an ended hypothesis's log-probability is
            divided by `n**alpha`, n being its number of tokens with the end id. Above
            0 favours long sequences; 0 compares plain log-probabilities.
        length_normalization: `"power"` for `n**alpha`, or `"google"` for
            `((5 + n) / 6)**alpha`.
        coverage_penalty: The factor beta of `sum(log(min(coverage, 1)))`, the sum being
            over the source positions and the coverage the attention that each got;
            needs a model whose `step` returns attention weights. 0 for none.
        coverage_layer: The decoder block whose attention is meant.
        coverage_heads: How many of its heads are averaged, the first ones; by default
            all.
        early_stopping: When a source is done: False, as soon as no live hypothesis can
            still win, if none has more tokens than a `Generator`'s `longest_targets`
            says; True, as soon as K have ended; `"heuristic"`, as soon as K have
            that are no worse than the best live one would be if it ended now, as
            transformers does by default; or `"never"` before the largest length.
        num_groups: The number of groups G of `K / G` beams for diverse beam search.
        diversity_penalty: What a token pays for each beam of an earlier group that
            picked it at the same step.
        renormalize: Whether a hypothesis is scored by the distribution that processors
            leave, which sums to 1 again; or by the model's own, of which they forbid
            tokens and no others gain.

    Raises:
        ValueError: If an option is out of its range, or the groups do not divide the
            beams.

    Example:
        ```python
        from keras_encdec import BeamSampler, EncoderDecoder, Generator

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        generator = Generator(model, BeamSampler(num_beams=4))
        best = generator(
            [[5, 7, 2]], max_length=6, num_return_sequences=2, return_scores=True
        )
        print(best.ids, best.scores)
        ```

    Reference:
        Wu et al. 2016, Google's Neural Machine Translation System, section 7;
        Vijayakumar et al. 2018, Diverse Beam Search; for phrases, Post and Vilar 2018,
        Fast Lexically Constrained Decoding with Dynamic Beam Allocation.
    """

    num_beams: int = 4
    length_penalty: float = 1.0
    length_normalization: Literal["power", "google"] = "power"
    coverage_penalty: float = 0.0
    coverage_layer: int = -1
    coverage_heads: int | None = None
    early_stopping: bool | Literal["heuristic", "never"] = False
    num_groups: int = 1
    diversity_penalty: float = 0.0
    renormalize: bool = True

    def __post_init__(self) -> None:
        require_positive(num_beams=self.num_beams, num_groups=self.num_groups)
        if self.num_beams % self.num_groups:
            raise ValueError(
                "num_beams must be divisible by num_groups; received "
                f"num_beams={self.num_beams}, num_groups={self.num_groups}."
            )
        if not abs(self.length_penalty) < float("inf"):
            raise ValueError(
                f"length_penalty must be finite; received {self.length_penalty!r}."
            )
        for name in ("coverage_penalty", "diversity_penalty"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"{name} must be finite and not below 0; received {value!r}."
                )
        kinds, stops = ("power", "google"), (False, True, "heuristic", "never")
        require_one_of(kinds, length_normalization=self.length_normalization)
        require_one_of(stops, early_stopping=self.early_stopping)
        require_one_of((True, False), renormalize=self.renormalize)
        if self.diversity_penalty and self.num_groups == 1:
            raise ValueError(
                "diversity_penalty is between groups of beams; received "
                f"diversity_penalty={self.diversity_penalty} with num_groups=1. Give "
                "num_groups too."
            )

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Raises, for a beam search does not pick row by row."""
        raise TypeError(
            "BeamSampler searches whole sequences and cannot pick single tokens; pass "
            "it to a Generator."
        )

    @property
    def one_token_a_step(self) -> bool:
        """False: the last step may still change the first token."""
        return False

    @property
    def rows_may_leave(self) -> bool:
        """True: all that a state holds is of one source."""
        return True

    def rows_per_source(self, num_return_sequences: int) -> int:
        """Returns K."""
        if num_return_sequences > self.num_beams:
            raise ValueError(
                "num_return_sequences must not be above num_beams; received "
                f"num_return_sequences={num_return_sequences}, "
                f"num_beams={self.num_beams}. Use more beams."
            )
        return self.num_beams

    def start(self, task: Task) -> BeamState:
        """Returns the state before the first step."""
        if task.phrases is not None and self.num_groups > 1:
            raise ValueError(
                "Phrases share the beams out themselves; received num_groups="
                f"{self.num_groups} with phrases. Use one group."
            )
        ids = self._by_source(task.new_ids())
        token_scores = tree.map_structure(self._by_source, task.new_token_scores())
        coverage = ()
        if self.coverage_penalty:
            zeros = ops.zeros(ops.shape(task.source), dtype="float32")
            coverage = self._by_source(zeros)
        nothing = ops.full(ops.shape(ids)[:2], NEVER, dtype="float32")
        # Only the first beam of each group lives, or all would find the same.
        first = (
            ops.arange(self.num_beams, dtype="int32")
            % (self.num_beams // self.num_groups)
            == 0
        )
        return BeamState(
            index=ops.convert_to_tensor(0, dtype="int32"),
            live=Hypotheses(
                ops.where(first, 0.0, nothing), ids, token_scores, coverage
            ),
            # Not the same tensors, for PyTorch writes in place.
            ended=Hypotheses(
                nothing, ids + 0, tree.map_structure(lambda x: x + 0, token_scores), ()
            ),
            done=self._by_source(task.limits)[:, 0] < 1,
            broken=ops.full(ops.shape(ids)[:1], -1, dtype="int32"),
            cache=task.model.new_cache(task.rows, task.cache_length),
        )

    def _by_source(self, x: Tensor) -> Tensor:
        """Gives the beams of a source an axis of their own: `(B * K, ...)`."""
        last = [ops.shape(x)[-1]] if len(x.shape) > 1 else []
        return ops.reshape(x, (-1, self.num_beams, *last))

    def unfinished(self, task: Task, state: BeamState) -> Tensor:
        """Returns which sources have rows that go on, `(B,)`, bool."""
        return ops.logical_not(state.done)

    def step(self, task: Task, state: BeamState) -> BeamState:
        """Returns the next state."""
        index, live, ended, done, broken, cache = state
        flat_ids = ops.reshape(live.ids, (-1, task.max_length))
        before = ops.take(flat_ids, ops.maximum(index - 1, 0), axis=1)
        tokens = ops.where(index == 0, task.start_id, before)
        options = {}
        if self.coverage_penalty:
            options["attention_layer"] = self.coverage_layer
        logits, cache, *weights = task.step(tokens, index, cache, **options)
        if not self.renormalize:
            logits = ops.log_softmax(ops.cast(logits, "float32"))
        if self.num_groups > 1:
            # What they pick is compared and penalized before it is scored.
            logits, without = task.process(flat_ids, logits, index), None
            if self.renormalize:
                # Of nothing that may follow log-probabilities are undefined.
                never = logits == NEVER
                logits = ops.where(never, NEVER, ops.log_softmax(logits))
        else:
            logits, without = task.unmasked(flat_ids, logits, index)
        if self.coverage_penalty:
            weights = weights[0][:, : self.coverage_heads]
            seen = self._by_source(ops.mean(weights, axis=1))
        else:
            seen = ()
        vocabulary = ops.shape(logits)[-1]
        logits = ops.reshape(logits, (-1, self.num_beams, vocabulary))
        size = self.num_beams // self.num_groups
        groups, taken = [], None
        for start in range(0, self.num_beams, size):
            group = slice(start, start + size)
            of_group = tree.map_structure(
                lambda x, group=group: x[:, group],
                (live, seen, ended, logits),
            )
            *found, picked = self._advance(task, index, done, taken, without, *of_group)
            groups.append(found)
            if start + size < self.num_beams:
                picked = ops.one_hot(picked, vocabulary, dtype="float32")
                picked = self.diversity_penalty * ops.sum(picked, axis=1)
                taken = picked if taken is None else taken + picked
        live, ended, origins, sound = groups[0]
        if self.num_groups > 1:
            live, ended, origins, sound = tree.map_structure(
                lambda *parts: ops.concatenate(parts, axis=1), *groups
            )
        # Origins are counted within a group, rows within the batch.
        places = ops.arange(self.num_beams, dtype="int32")
        # Those of a source that is done stay, for to move them takes time.
        rows = ops.where(done[:, None], places, origins + places // size * size)
        sources = ops.arange(ops.shape(rows)[0], dtype="int32")
        rows = ops.reshape(rows + sources[:, None] * self.num_beams, (-1,))
        sound = ops.all(sound, axis=1)
        longest = self._by_source(task.longest)[:, 0]
        stops = is_done(
            *(self.early_stopping, live.scores, ended.scores, index + 1, longest),
            *(task.num_return_sequences, self._penalty),
        )
        ends = ops.logical_or(~sound, stops)
        return BeamState(
            index=index + 1,
            live=live,
            ended=ended,
            done=ops.logical_or(done, ends),
            broken=ops.where(ops.logical_or(done, sound), broken, index),
            cache=move_rows(cache, rows),
        )

    def _advance(
        self,
        task: Task,
        index: Tensor,
        done: Tensor,
        taken: Tensor | None,
        without: int | None,
        live: Hypotheses,
        seen: Tensor,
        ended: Hypotheses,
        logits: Tensor,
    ) -> tuple[Hypotheses, Hypotheses, Tensor, Tensor, Tensor]:
        """Returns a group's live and ended ones, parents, which were sound, picks."""
        beams, vocabulary = logits.shape[1:]
        wanted = (1 + max(1, len(task.end_ids))) * beams
        # Where it is not known, a shortlist has as many.
        each = min(wanted, vocabulary or wanted)
        wanted = min(wanted, beams * each)
        if taken is not None:
            logits = logits - taken[:, None]
        # The best of each beam, then the best of these.
        values, tokens = top_k(logits, each, without)
        log_sum = 0.0
        if self.renormalize and self.num_groups == 1:
            log_sum = log_sum_exp(logits, tokens[..., 0], without)[..., None]
        if task.phrases is not None:
            forced = self._progress(task, index, live.ids)[2][..., None]
            extra = take_of_each(logits, ops.maximum(forced, 0))
            known = ops.any(forced[..., None] == tokens[:, :, None, :], axis=-1)
            known = ops.logical_or(known, forced < 0)
            values = ops.concatenate([values, ops.where(known, NEVER, extra)], -1)
            tokens = ops.concatenate([tokens, forced], axis=-1)
            each = tokens.shape[-1]
            wanted = beams * each
        # Where nothing may follow, the sum is undefined.
        gained = ops.where(values == NEVER, NEVER, values - log_sum)
        scores = live.scores[..., None] + gained
        # Of all, for where logits are nan TensorFlow finds any first.
        numbers = scores < float("inf")
        sound = ops.logical_or(ops.all(numbers, axis=-1), live.scores == NEVER)
        flat = (-1, beams * each)
        scores = ops.reshape(ops.where(numbers, scores, NEVER), flat)
        scores, places = ops.top_k(scores, wanted)
        tokens = ops.reshape(tokens, flat)
        tokens = take_of_each(tokens, places)  # (B, M)
        origins = ops.cast(places // each, "int32")
        ids = task.ids_of(tokens)
        new = self._children(task, index, live, seen, scores, ids, origins)
        last = index + 1 >= self._by_source(task.limits)[:, :1]
        ends = ops.logical_or(task.is_end(ids), last)
        # Others than the best K are there to live on in the place of those that end.
        among_best = ops.arange(wanted, dtype="int32") < beams
        if task.phrases is not None:
            among_best = ops.ones_like(among_best)
        leaves = ops.logical_and(ops.logical_and(ends, among_best), ~done[:, None])
        final = self._final_scores(index, new)
        final = ops.where(leaves, final, NEVER)
        pool = tree.map_structure(
            lambda *parts: ops.concatenate(parts, axis=1),
            ended,
            Hypotheses(final, new.ids, new.token_scores, ()),
        )
        ended = select_best(pool, pool.scores, beams)
        live_scores = ops.where(ends, NEVER, scores)
        new = new._replace(scores=live_scores)
        order = live_scores
        if task.phrases is not None:
            missing = self._progress(task, index + 1, new.ids)[0]
            ranks = constraints.ranks_in_banks(live_scores, missing)
            order = -ops.cast(ranks, "float32")
            order = ops.where(live_scores == NEVER, NEVER, order)
        places = top_indices(order, beams)
        turn = in_parents_places(take_of_each(origins, places))
        places = take_of_each(places, turn)
        live = gather_hypotheses(new, places)
        # What leaves and what lives on, for other groups to avoid.
        leaving = ops.where(ops.logical_and(leaves, scores > NEVER), tokens, -1)
        living = take_of_each(tokens, places)
        living = ops.where(live.scores > NEVER, living, -1)
        picked = ops.concatenate([leaving, living], axis=1)
        return live, ended, take_of_each(origins, places), sound, picked

    def _children(
        self,
        task: Task,
        index: Tensor,
        live: Hypotheses,
        seen: Tensor,
        scores: Tensor,
        tokens: Tensor,
        origins: Tensor,
    ) -> Hypotheses:
        def append(x: Tensor, entry: Tensor) -> Tensor:
            flat = ops.reshape(take_of_each(x, origins), (-1, task.max_length))
            flat = write_at(flat, index, ops.reshape(entry, (-1, 1)))
            return ops.reshape(flat, (-1, tokens.shape[1], task.max_length))

        token_scores, coverage = live.token_scores, live.coverage
        if task.return_scores:
            parents = take_of_each(live.scores, origins)
            gained = ops.where(parents == NEVER, 0.0, scores - parents)
            token_scores = append(token_scores, gained)
        if self.coverage_penalty:
            coverage = take_of_each(coverage + seen, origins)
        return Hypotheses(scores, append(live.ids, tokens), token_scores, coverage)

    def _final_scores(self, index: Tensor, hypotheses: Hypotheses) -> Tensor:
        scores = hypotheses.scores / self._penalty(ops.cast(index + 1, "float32"))
        if self.coverage_penalty:
            coverage = hypotheses.coverage
            padded = ops.where(coverage > 0, ops.minimum(coverage, 1.0), 1.0)
            scores = scores + self.coverage_penalty * ops.sum(ops.log(padded), axis=-1)
        return scores

    def _penalty(self, length: Tensor) -> Tensor:
        if self.length_normalization == "google":
            length = (5.0 + length) / 6.0
        return length**self.length_penalty

    def _progress(
        self, task: Task, index: Tensor, ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The `phrase_progress` of hypotheses with ids `(B, M, L)`, each `(B, M)`."""
        number = ids.shape[1]
        flat = ops.reshape(ids, (-1, task.max_length))
        phrases = repeat_rows(task.phrases, number // self.num_beams)
        found = constraints.phrase_progress(flat, index, phrases)
        return tree.map_structure(lambda x: ops.reshape(x, (-1, number)), found)

    def finish(self, task: Task, state: BeamState) -> Generated:
        """Returns the best ended hypotheses, a `Generated`."""
        ended = state.ended  # In order, within each group.
        if self.num_groups > 1:
            ended = select_best(ended, ended.scores, self.num_beams)
            ended = without_repeats(ended)
            ended = select_best(ended, ended.scores, self.num_beams)
        found = ended.scores > NEVER
        ids = ops.where(found[..., None], ended.ids, task.padding_id)
        since = state.broken[:, None, None]
        after = ops.arange(task.max_length, dtype="int32") >= since
        ids = ops.where(ops.logical_and(since >= 0, after), BROKEN, ids)
        best = slice(task.num_return_sequences)
        if not task.return_scores:
            return Generated(ids[:, best], (), ())
        token_scores = ops.where(found[..., None], ended.token_scores, 0.0)
        return Generated(ids[:, best], ended.scores[:, best], token_scores[:, best])
