"""The languages of models that know several, and how their tokens are spelled."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from keras_encdec.pretrained.tokenizer_files import TokenizerFiles

# As mBART and NLLB spell them.
LANGUAGE = re.compile(r"[a-z]{2,3}_[A-Z][A-Za-z]{1,3}")
# In the order of their ids.
MBART = (
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ "
    "ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN"
).split()
MBART_50 = [
    *MBART,
    *(
        "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN "
        "pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES "
        "sl_SI"
    ).split(),
]
M2M_100 = {
    "m2m100": (
        "af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr "
        "fy ga gd gl gu ha he hi hr ht hu hy id ig ilo is it ja jv ka kk km kn ko lb "
        "lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro ru sd si "
        "sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu"
    ).split(),
    "wmt21": "en ha is ja cs ru zh de".split(),
}


def language_id(ids: dict[str, int], language: str, argument: str) -> int:
    """The id of a language.

    Args:
        ids: The id of each language.
        language: Its name.
        argument: What the name was given as, for an error.

    Raises:
        ValueError: If it is none of them, with the nearest names.

    Example:
        ```python
        from keras_encdec.pretrained.languages import language_id

        print(language_id({"en_XX": 7}, "en_XX", "source_language"))  # 7
        ```
    """
    if language in ids:
        return ids[language]
    if not ids:
        raise ValueError(
            f"This checkpoint's tokenizer knows no languages; received {argument}="
            f"{language!r}. Leave it out, or write what it needs into the texts."
        )
    raise ValueError(
        f"{argument} must be a language of the checkpoint's tokenizer; received "
        f"{language!r}. Give one of its names, such as "
        f"{', '.join(map(repr, nearest(ids, language)))}."
    )


def nearest(names: Iterable[str], name: str) -> list[str]:
    """The five names that resemble one most."""
    names = list(names)
    lower = {each.lower(): each for each in names}
    begin = str(name)[:2].lower()
    close = [
        *(each for each in names if each.lower().startswith(begin)),
        *(
            lower[each]
            for each in difflib.get_close_matches(str(name).lower(), lower, 5)
        ),
        *names,
    ]
    return list(dict.fromkeys(close))[:5]


def no_languages(*given: str | None) -> None:
    """Refuses a language, source or target, for a tokenizer that knows none."""
    for argument, language in zip(
        ("source_language", "target_language"), given, strict=True
    ):
        if language is not None:
            language_id({}, language, argument)


def two_languages(
    files: TokenizerFiles,
    ids: dict[str, int],
    source_language: str | None,
    target_language: str | None,
) -> tuple[int, int]:
    """The ids of both languages, which the settings name where no argument does."""
    if source_language is None:
        defaults = {"M2M100Tokenizer": "en", "NllbTokenizer": "eng_Latn"}
        default = defaults.get(files.kind, "en_XX")
        source_language = files.setting("src_lang", default)
    source_id = language_id(ids, source_language, "source_language")
    if target_language is None:
        target_language = files.setting("tgt_lang")
    if target_language is not None:
        target_id = language_id(ids, target_language, "target_language")
        return source_id, target_id
    # A model that was trained for one language has it in its config.
    for name in ("forced_bos_token_id", "decoder_start_token_id"):
        if files.config.get(name) in ids.values():
            return source_id, files.config[name]
    raise ValueError(
        f"A checkpoint of {len(ids)} languages must be told the one to translate to; "
        f"received none. Give target_language, such as "
        f"{', '.join(map(repr, nearest(ids, source_language)))}."
    )
