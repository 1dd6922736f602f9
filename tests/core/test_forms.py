"""Numbers in their range, forms of JSON, and values in messages."""

import json
import re

import pytest

from reid.core.forms import COUNT, NAME, SHARE, Number, fit, short

COUNTS = Number(1, 10, whole=True)
WEIGHTS = Number(1e-6, 1e6)


@pytest.mark.parametrize(
    "form, text, value",
    [
        (COUNTS, "1", 1),
        (COUNTS, "10", 10),
        (COUNTS, "+7", 7),
        (COUNTS, "007", 7),
        (WEIGHTS, "1", 1.0),
        (WEIGHTS, ".5", 0.5),
        (WEIGHTS, "5.", 5.0),
        (WEIGHTS, "1e-6", 1e-6),
        (WEIGHTS, "1E6", 1e6),
        (Number(-1, 1), "-0.25", -0.25),
        (SHARE, "0.12345678901234567", 0.12345678901234567),
    ],
)
def test_text_in_the_range_is_its_number(form, text, value):
    assert form.of_text(text) == value and type(form.of_text(text)) is type(value)


NO_NUMBERS = [
    "",
    " ",
    "x",
    "1 ",
    " 1",
    "1_0",
    "0x1",
    "1,5",
    "١",
    "½",
    "nan",
    "inf",
    "-inf",
    "infinity",
    "1e",
    "--1",
    "1\n",
    "1e400",
]


@pytest.mark.parametrize("text", [*NO_NUMBERS, "9" * 5000, "0" * 5000 + "1"], ids=lambda text: repr(text[:9]))
@pytest.mark.parametrize("form", [COUNTS, WEIGHTS], ids=str)
def test_text_that_is_no_number_is_refused(form, text):
    with pytest.raises(ValueError, match=f"is not {re.escape(str(form))}$") as caught:
        form.of_text(text)
    assert len(str(caught.value)) < 120 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "form, text",
    [
        (COUNTS, "0"),
        (COUNTS, "11"),
        (COUNTS, "-1"),
        (COUNTS, "1.0"),
        (COUNTS, "1e0"),
        (WEIGHTS, "0"),
        (WEIGHTS, "1e7"),
    ],
)
def test_text_out_of_the_range_is_refused(form, text):
    with pytest.raises(ValueError, match=f"{re.escape(text)}.* is not"):
        form.of_text(text)


@pytest.mark.parametrize("value", [1, 10])
def test_value_in_the_range_is_itself(value):
    assert COUNTS.of(value) is value


@pytest.mark.parametrize(
    "value", [0, 11, -1, 1.0, 10**400, True, False, None, "1", [1], {}, float("nan"), float("inf")]
)
def test_value_that_is_no_number_in_the_range_is_refused(value):
    for form in (COUNTS, Number(2, 9)):
        if form.whole or value != 1.0:
            with pytest.raises(ValueError, match=f"is not a {'whole ' * form.whole}number from"):
                form.of(value)


FORM = {
    "split": ("valid", "test"),
    "mAP": SHARE,
    "queries": COUNT,
    "trained_on": bool,
    "name": str,
    "interval": {str: (None, [SHARE, SHARE])},
    "seeds": [{"images": COUNT}],
}
GOOD = {
    "split": "valid",
    "mAP": 0.5,
    "queries": 3,
    "trained_on": False,
    "name": "",
    "interval": {"mAP": [0, 1.0], "rank-1": None},
    "seeds": [{"images": 1, "more": 1}, {"images": 2}],
    "more": [],
}


def test_content_of_the_form_passes_whatever_else_it_holds():
    fit(GOOD, FORM)
    fit(GOOD | {"interval": {}, "seeds": []}, FORM)


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"split": "train"}, 'split: "train" is not valid or test'),
        ({"split": None}, "split: null is not valid or test"),
        ({"mAP": 1.5}, "mAP: 1.5 is not a number from 0 to 1"),
        ({"mAP": "0.5"}, 'mAP: "0.5" is not a number'),
        ({"mAP": True}, "mAP: true is not a number"),
        ({"mAP": ...}, "mAP is missing"),
        ({"queries": 1.0}, "queries: 1.0 is not a whole number"),
        ({"queries": -1}, "queries: -1 is not a whole number"),
        ({"queries": 10**5000}, "queries: a number of about 5,000 digits is not a whole number"),
        ({"trained_on": 1}, "trained_on: 1 is not true or false"),
        ({"name": 3}, "name: 3 is not a text"),
        ({"interval": []}, r"interval: \[\] is not an object"),
        ({"interval": {"x\n": 1}}, r"interval.x\\n: 1 is not null or a list of 2"),
        ({"interval": {"x": [0.5]}}, r"interval.x: \[0.5\] is not null or a list of 2"),
        ({"interval": {"x": [0.5, 2]}}, r"interval.x: \[0.5, 2\] is not null or a list of 2"),
        ({"seeds": {}}, "seeds: {} is not a list"),
        ({"seeds": [{"images": 1}, {}]}, r"seeds\[1\].images is missing"),
        ({"seeds": [[]]}, r"seeds\[0\]: \[\] is not an object"),
    ],
)
def test_content_of_another_form_is_refused_with_its_place(change, problem):
    content = {key: value for key, value in (GOOD | change).items() if value is not ...}
    with pytest.raises(ValueError, match=f"^{problem}"):
        fit(content, FORM)


@pytest.mark.parametrize("value", [None, 1, "x", [], [GOOD], True])
def test_what_is_no_object_is_refused(value):
    with pytest.raises(ValueError, match="it: .* is not an object"):
        fit(value, FORM)


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("a\nb\ud800", r'"a\nb\ud800"'),
        ([1, [2], {"a": 1}, "x"], '[1, [...], [...], "x"]'),
        ([1, 2, 3, 4, 5], "[1, 2, 3, 4, ...]"),
        ({"a": 1}, "{...}"),
        ({}, "{}"),
        (10**40, str(10**40)),
        (float("nan"), "NaN"),
    ],
)
def test_values_are_shown_as_in_json(value, text):
    assert short(value) == text


def test_any_value_is_shown_in_one_short_line():
    deep = json.loads("[" * 900 + "]" * 900)
    for value in ("x" * 10**6, list(range(10**5)), deep, {"a": deep}, 10**10_000, -(10**10_000), "\u2028\n\r\0" * 99):
        assert len(short(value)) <= 48 and short(value).isascii() and short(value).isprintable()


@pytest.mark.parametrize("text", ["", "a", "Atlético – 1", "日本", "$x$", "a\u00a0b", "x" * 200])
def test_text_that_can_be_shown_is_itself(text):
    assert NAME.of(text) == text


@pytest.mark.parametrize(
    "text", ["\0", "a\nb", "\r", "\x7f", "\x85", "\u2028", "\ud800", "\uffff", "x" * 201, None, 3, [], b"a"]
)
def test_text_that_cannot_be_shown_is_refused(text):
    with pytest.raises(ValueError, match="is not a line of at most 200 characters") as caught:
        NAME.of(text)
    assert str(caught.value).isprintable()
