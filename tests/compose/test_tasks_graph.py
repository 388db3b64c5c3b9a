from __future__ import annotations

import pytest

from xec_magic.command import Command
from xec_magic.compose.tasks_graph import Graph, GraphError, Task
from xec_magic.plan import Plan

PLAN = Plan(Command("true"))


def graph(**needs):
    return Graph(Task(name, PLAN, tuple(need.split())) for name, need in needs.items())


def test_each_task_comes_behind_what_it_needs():
    order = graph(test="build", build="install", lint="install", install="fetch", fetch="").order
    assert all(
        order.index(one) < order.index(other)
        for one, other in [("fetch", "install"), ("install", "build"), ("build", "test")]
    )


def test_a_circle_of_one_of_three_and_of_many_is_refused_with_all_of_its_names():
    with pytest.raises(GraphError, match="^a needs itself$"):
        graph(a="a")
    with pytest.raises(
        GraphError, match="3 tasks need each other in a circle: a needs b, b needs c, c needs a$"
    ) as caught:
        graph(x="", a="b x", b="c", c="a", y="a")
    assert (caught.value.task, caught.value.need) == ("a", "b")
    with pytest.raises(GraphError, match="50 tasks need each other") as caught:
        graph(**{f"t{i}": f"t{(i + 1) % 50}" for i in range(50)})
    assert all(f"t{i} needs" in str(caught.value) for i in range(50))


def test_of_a_circle_of_thousands_the_message_names_both_ends_and_can_be_read():
    with pytest.raises(
        GraphError, match="^5,000 tasks need each other in a circle: t0 needs t1, t1 needs t2"
    ) as caught:
        graph(**{f"t{i}": f"t{(i + 1) % 5000}" for i in range(5000)})
    said = str(caught.value)
    assert "t29 needs t30, … 4,940 more …, t4970 needs t4971, " in said
    assert said.endswith(", t4999 needs t0")
    assert len(said) < 2000


def test_an_unknown_dependency_is_refused_with_the_nearest_name():
    with pytest.raises(GraphError, match="build needs instal, which is no task; did you mean install?"):
        graph(install="", build="instal")
    with pytest.raises(GraphError, match="there are a, b$"):
        graph(a="", b="zzzzzz")
    with pytest.raises(GraphError, match="there is no task 'zz'; there is only a$"):
        graph(a="").part(["zz"])


def test_the_same_name_twice_is_refused():
    with pytest.raises(GraphError, match="already a task a"):
        Graph([Task("a", PLAN), Task("a", PLAN)])


def test_a_part_holds_what_the_named_tasks_need_and_nothing_else():
    whole = graph(fetch="", install="fetch", lint="fetch", test="install")
    assert set(whole.part(["test"]).order) == {"fetch", "install", "test"}
    assert whole.part([]) is whole
    with pytest.raises(GraphError, match="no task 'tset'; did you mean test?"):
        whole.part(["tset"])


@pytest.mark.parametrize(
    ("creates", "depends"),
    [("/w/out.csv", "/w/out.csv"), ("/w/data/out.csv", "/w/data"), ("/w/data", "/w/data/out.csv")],
)
def test_who_depends_on_a_file_needs_the_task_that_creates_it(creates, depends):
    made = Graph(
        [Task("report", PLAN, depends=((depends, depends),)), Task("load", PLAN, creates=((creates, creates),))]
    )
    assert made.needs["report"] == ("load",)
    assert made.order == ("load", "report")


@pytest.mark.parametrize(
    ("creates", "depends"),
    [
        ("out/f", "build/f"), ("build/f", "out/f"), ("out/f", "same"), ("same", "build"), ("build/new/f", "out/new/f"),
        ("build", "out/f"),
    ],
)  # fmt: skip
def test_who_names_a_file_through_a_link_needs_the_task_that_creates_it_by_another_name(tmp_path, creates, depends):
    (tmp_path / "out").mkdir()
    (tmp_path / "build").symlink_to("out")
    (tmp_path / "same").symlink_to("build/f")
    named = {name: ((name, str(tmp_path / name)),) for name in (creates, depends)}
    made = Graph([Task("report", PLAN, depends=named[depends]), Task("load", PLAN, creates=named[creates])])
    assert made.order == ("load", "report")


def test_a_task_that_depends_on_what_it_creates_is_refused():
    with pytest.raises(GraphError, match="a needs itself: it depends on a file that it creates"):
        Graph([Task("a", PLAN, depends=(("x", "/w/x"),), creates=(("x", "/w/x"),))])


def test_a_chain_of_ten_thousand_is_ordered():
    names = [f"t{i}" for i in range(10_000)]
    order = Graph(Task(name, PLAN, (names[at - 1],) if at else ()) for at, name in enumerate(names)).order
    assert order == tuple(names)
