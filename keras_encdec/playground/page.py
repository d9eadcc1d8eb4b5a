"""The page, by Gradio: what somebody types and chooses, and what the models answer."""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any, TypeAlias

from keras_encdec.generation import Sampler
from keras_encdec.generation.samplers.names import SAMPLERS, sampler_of
from keras_encdec.model_card import sizes_of
from keras_encdec.option_checks import require_positive
from keras_encdec.playground.answers import (
    MOST_CANDIDATES,
    MOST_CHARACTERS,
    Answerer,
    Request,
)
from keras_encdec.playground.drawing import SCRIPT, STYLE, draw_answer, draw_error
from keras_encdec.playground.limits import RefuseFiles, require_plain
from keras_encdec.text_to_text import TextToText

# Gradio's, which may not be there.
Page: TypeAlias = Any

_AS_SAVED = "as saved"
# What samplers are told, by the names of their arguments: label and bounds.
_CONTROLS: dict[str, dict[str, Any]] = {
    "num_beams": {"label": "Beams", "minimum": 1, "maximum": 16, "step": 1},
    "length_penalty": {"label": "Length penalty", "minimum": 0, "maximum": 2},
    "temperature": {"label": "Temperature", "minimum": 0.1, "maximum": 3},
    "k": {"label": "k", "minimum": 1, "maximum": 100, "step": 1},
    "p": {"label": "p", "minimum": 0.01, "maximum": 1, "step": 0.01},
}
_NAMES = [name for name in SAMPLERS if name != "contrastive"]
_CSS = """
.gradio-container { max-width: 68rem !important; margin: auto }
.gradio-container h1 { margin-bottom: .2rem }
"""


def open_playground(
    *models: TextToText,
    names: tuple[str, ...] | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    queue_size: int = 16,
    share: bool = False,
) -> Page:
    """Opens a page to try a model on, or two side by side.

    It answers one request at a time. In a notebook, in Colab too, it is shown below the
    cell. Nothing is told to anybody: what Gradio would send home is turned off.

    Args:
        *models: One `TextToText`, or two.
        names: What they are called on the page.
        host: The address to listen at: by default that of this machine alone;
            `"0.0.0.0"` for whoever reaches it.
        port: The port, by default the first that is free from 7860.
        queue_size: How many requests may wait; others are refused.
        share: Whether to ask Gradio for a public link, through its servers.

    Returns:
        The page, a `gradio.Blocks` that runs in threads of its own: `page.local_url` is
        its address, `page.close()` ends it, and `page.block_thread()` has a script wait
        until Ctrl-C.

    Raises:
        ImportError: If gradio is missing.
        OSError: If it cannot listen there.
        ValueError: If there is no model or more than two, not as many names, or a
            number is out of its range.

    Example:
        ```python
        from keras_encdec import TextToText, open_playground

        def try_it(folder):
            open_playground(TextToText.load(folder))
        ```
    """
    page = make_page(*models, names=names, queue_size=queue_size)
    page.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=True,
        quiet=True,
        **page_options(),
    )
    return page


def make_page(
    *models: TextToText, names: tuple[str, ...] | None = None, queue_size: int = 16
) -> Page:
    """Returns the page, which does not run yet, to be put into an app of one's own.

    Mount it with `page_options`: without these Gradio fetches addresses and takes files
    for whoever reaches it.

    Args:
        *models: As in `open_playground`.
        names: Likewise.
        queue_size: Likewise.

    Returns:
        A `gradio.Blocks`.

    Raises:
        ImportError: As in `open_playground`.
        ValueError: Likewise.

    Example:
        ```python
        from keras_encdec import TextToText
        from keras_encdec.playground.page import make_page, page_options

        def mounted(app, folder):
            import gradio

            page = make_page(TextToText.load(folder))
            return gradio.mount_gradio_app(app, page, "/", **page_options())
        ```
    """
    require_positive(queue_size=queue_size)
    if not 1 <= len(models) <= 2 or (names is not None and len(names) != len(models)):
        raise ValueError(
            "A playground is of one model, or of two side by side, each with its name "
            f"if names are given; received {len(models)} models and names={names!r}. "
            "Give one or two, and as many names."
        )
    names = names or ("Answer", "Answer of the other")[: len(models)]
    gr = _gradio()
    answerers = [Answerer(model) for model in models]
    most = min(model.max_length for model in models)
    # Nothing is to be told to Gradio's servers.
    with gr.Blocks(analytics_enabled=False, title="Playground") as page:
        gr.Markdown("# Playground\n" + "  \n".join(map(_about, names, models)))
        text = gr.Textbox(
            label="Text",
            placeholder="Type a text, and press Enter",
            max_lines=8,
            max_length=MOST_CHARACTERS,
            autofocus=True,
            elem_id="text",
        )
        with gr.Row():
            begin = gr.Button("Generate", variant="primary", elem_id="generate")
            stop = gr.Button("Stop", elem_id="stop")
        with gr.Accordion("Options", open=False):
            options = _options(gr, models, most)
        outputs = []
        with gr.Row():
            for number, name in enumerate(names):
                with gr.Column(min_width=320):
                    outputs += [
                        gr.Textbox(
                            label=name,
                            interactive=False,
                            max_lines=12,
                            buttons=["copy"],
                            elem_id=f"answer-{number}",
                        ),
                        gr.HTML(
                            css_template=STYLE,
                            js_on_load=SCRIPT,
                            apply_default_css=False,
                            elem_id=f"details-{number}",
                        ),
                    ]

        def run(text: str, *chosen: Any) -> Iterator[list[str]]:
            given = dict(zip(options, chosen, strict=True))
            yield from _answers(answerers, text, given)

        running = gr.on(
            [begin.click, text.submit],
            run,
            [text, *options.values()],
            outputs,
            show_progress="hidden",
            api_visibility="private",
        )
        stop.click(None, cancels=[running], api_visibility="private")
    # One at a time, for each may take all cores.
    page.queue(max_size=queue_size, default_concurrency_limit=1)
    validate_inputs = page.validate_inputs

    def validate_plain(block_fn: Any, inputs: list[Any]) -> None:
        require_plain(inputs)
        validate_inputs(block_fn, inputs)

    # Gradio asks before it reads anything, and fetches the files among what it reads.
    page.validate_inputs = validate_plain
    return page


def page_options() -> dict[str, Any]:
    """Returns what Gradio must be told of the page when it is launched or mounted.

    Returns:
        Arguments of `gradio.mount_gradio_app` and `gradio.Blocks.launch`, by name: its
        looks, nothing kept of what was asked, and 403 where files would be fetched or
        taken.

    Raises:
        ImportError: As in `open_playground`.

    Example:
        ```python
        from keras_encdec.playground.page import page_options

        def launched(page):
            page.launch(**page_options())
        ```
    """
    gr = _gradio()
    from starlette.middleware import Middleware

    return {
        "footer_links": [],
        "run_history": False,
        "max_file_size": "1kb",
        "app_kwargs": {"middleware": [Middleware(RefuseFiles)]},
        # Those that the reader's system has; none is loaded.
        "theme": gr.themes.Default(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
        "css": _CSS,
    }


def _options(gr: Any, models: tuple[TextToText, ...], most: int) -> dict[str, Any]:
    """Returns what can be chosen, by its name; what has no use is hidden."""
    with gr.Row():
        sampler = gr.Dropdown(
            [_AS_SAVED, *_NAMES], value=_AS_SAVED, label="Sampler", elem_id="sampler"
        )
        number = gr.Slider(
            1, MOST_CANDIDATES, value=4, step=1, label="Texts, where it has several"
        )
        max_length = gr.Slider(1, most, value=most, step=1, label="Most tokens")
        seed = gr.Number(0, label="Seed", precision=0)
    with gr.Row():
        controls = {
            name: gr.Slider(**bounds, value=_default(None, name), visible=False)
            for name, bounds in _CONTROLS.items()
        }
    phrases = gr.Textbox(
        label="Phrases that must appear, a line each",
        lines=2,
        max_lines=6,
        max_length=MOST_CHARACTERS,
        elem_id="phrases",
    )

    def shown(name: str) -> list[Any]:
        return [
            gr.update(visible=control in _taken_by(name), value=_default(name, control))
            for control in _CONTROLS
        ]

    sampler.change(
        shown, sampler, [*controls.values()], queue=False, api_visibility="private"
    )
    return {
        "sampler": sampler,
        "number": number,
        "max_length": max_length,
        "seed": seed,
        **controls,
        "phrases": phrases,
    }


def _taken_by(name: str) -> dict[str, Any]:
    """Returns what can be chosen of a sampler, with what it is by default."""
    if name not in _NAMES:
        return {}
    fields = {field.name: field for field in dataclasses.fields(SAMPLERS[name])}
    return {each: fields[each].default for each in _CONTROLS if each in fields}


def _default(name: str | None, control: str) -> Any:
    """Returns what a number is by default, of a sampler or the first that has it."""
    for each in [name or "", *_NAMES]:
        if control in _taken_by(each):
            return _taken_by(each)[control]
    raise KeyError(control)


def _answers(
    answerers: list[Answerer], text: str, given: dict[str, Any]
) -> Iterator[list[str]]:
    """Yields what all outputs show, a text and its details for each model."""
    shown = [""] * (2 * len(answerers))
    for number, answerer in enumerate(answerers):
        try:
            for answer in answerer(_request(text, given)):
                shown[2 * number] = "\n".join(x.text for x in answer.candidates[:1])
                shown[2 * number + 1] = draw_answer(answer)
                yield [*shown]
        except (FloatingPointError, TypeError, ValueError) as error:
            shown[2 * number : 2 * number + 2] = "", draw_error(str(error))
            yield [*shown]


def _request(text: str, given: dict[str, Any]) -> Request:
    """Returns what was asked, of the values of what can be chosen.

    Raises:
        ValueError: If one is missing or out of its range.
    """
    name = given["sampler"]
    try:
        sampler: Sampler | None = None
        if name != _AS_SAVED:
            taken = {each: given[each] for each in _taken_by(name)}
            whole = ("num_beams", "k")
            taken |= {each: int(taken[each]) for each in whole if each in taken}
            sampler = sampler_of(name, **taken)
        numbers = {x: int(given[x]) for x in ("number", "max_length", "seed")}
    except TypeError as error:
        raise ValueError(
            f"Each number of the options is needed; received {given!r}. Fill it in."
        ) from error
    phrases = [phrase.strip() for phrase in (given["phrases"] or "").splitlines()]
    return Request(
        text=text or "",
        sampler=sampler,
        phrases=tuple(filter(None, phrases)),
        **numbers,
    )


def _about(name: str, model: TextToText) -> str:
    return f"**{name}**: {', '.join(sizes_of(model)[:1])}, {model.sampler!r}"


def _gradio() -> Any:
    # Read where it is imported.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError as error:
        raise ImportError(
            "A playground needs the package gradio, which is not installed. Install it "
            "with `pip install 'keras-encdec[playground]'`."
        ) from error
    return gradio
