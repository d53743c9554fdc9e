"""A job file to the request that a node takes, with every mistake that can be seen before the node is asked.

    read      bytes -> tree -> structs                     what is written
    plan      steps in order, terms, points, inputs        what is meant
    programs  each is compiled and looked at               what is named

What must always hold: whoever passes has a request whose every step a node could submit as it stands, but for
outputs of earlier steps, money, and the rules of the network.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
import trio
from msgspec import UNSET

from domain.compute.programs import Program, prepare
from domain.compute.spec import SPEC_SIZE_MAX, TOGETHER_SIZE_MAX, VARIABLES_OF_A_SHARD, Input
from fog.jobfile import sweep, terms
from fog.jobfile.fit import fit
from fog.jobfile.inputs import files_of
from fog.jobfile.problems import BadJobFile, Place, Problem, nearest, shown
from fog.jobfile.schema import From, JobFile, Limits, Step, Work
from fog.jobfile.steps import order_of
from fog.jobfile.sweep import Point
from fog.jobfile.tree import Unreadable, Value, read
from fog.jobs import share_out, unique_names
from fog.layout import lay_out
from fog.texts import is_composed
from fog.workflow_methods import Source, StepSubmit, WorkflowSubmit
from ledger.cid import Cid
from ledger.errors import UsageError

T = TypeVar("T")

_ANY: Final = Cid.of_raw(b"")
"""In place of an input's content, which its name does not depend on."""

OF_A_STEP: Final = ("args", "env", "inputs", "together", "shards", "sweep", "program")
"""Fields that nothing is inherited from: beside `steps` they would mean nothing."""


class Plan(NamedTuple):
    """`points`: for each step that sweeps, the values of its points in order."""

    request: WorkflowSubmit
    points: dict[str, list[Point]]


def load(path: Path, cache: Path, now: int) -> Plan:
    """The request that a file stands for, and the values behind its arguments.

    `cache` keeps compiled programs; `now` is unix ms.
    Raises BadJobFile; UsageError (`no_job_file`) when the file cannot be read at all.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", code="no_job_file", next_step="give the .yaml file in it")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", code="no_job_file", next_step="check the path"
        ) from error
    try:
        tree = read(data)
    except Unreadable as error:
        raise BadJobFile(path, [error.problem]) from error
    file, problems = fit(tree, JobFile)
    if file is None:
        raise BadJobFile(path, problems)
    planner = _Planner(path, tree, file, now)
    request = planner.request()
    if not planner.problems:
        trio.run(planner.look_at_programs, request.steps, cache)
    if planner.problems:
        raise BadJobFile(path, planner.problems)
    return Plan(request, planner.points)


class _Planner:
    def __init__(self, path: Path, tree: Value, file: JobFile, now: int) -> None:
        self.problems: list[Problem] = []
        self.points: dict[str, list[Point]] = {}
        self._folder = path.absolute().parent
        self._stem = path.stem
        self._tree = tree
        self._file = file
        self._now = now

    def request(self) -> WorkflowSubmit:
        file = self._file
        name = self._stem if file.name is UNSET else file.name
        deadline = terms.deadline_of(file.deadline, ("deadline",), self._now, self._note)
        steps = self._steps(name)
        order, wrong = order_of({step: one.needs for step, (one, _) in steps.items()})
        for place, found in wrong:
            self._note(("steps", *place), found.what, found.remedy, found.code)
        planned = {step: self._step(step, one, place, deadline) for step, (one, place) in steps.items()}
        self._check_outputs(planned)
        return WorkflowSubmit(
            name=name,
            steps=[planned[step] for step in order or planned],
            deadline_ms=deadline,
        )

    def _steps(self, name: str) -> dict[str, tuple[Step, Place]]:
        file = self._file
        if not file.steps:
            if file.program is UNSET:
                self._note((), "`program` is missing", "add `program:`, or `steps:` with several")
            fields = {one: getattr(file, one) for one in Work.__struct_fields__}
            return {name: (Step(**fields), ())}
        for field in OF_A_STEP:
            if field in self._tree.fields:
                remedy = f"move `{field}:` into the steps that it is for"
                self._note((field,), f"beside `steps`, `{field}` is for none of them", remedy)
        return {step: (one, ("steps", step)) for step, one in file.steps.items()}

    def _step(self, name: str, step: Step, place: Place, whole: int) -> StepSubmit:
        top = self._file
        if step.program is UNSET and place:
            self._note(place, "`program` is missing", "add `program:`")
        amounts = {
            field: self._amount(field, step, place) for field in terms.QUANTITIES if field != "deadline"
        }
        deadline = None
        if step.deadline is not UNSET:
            deadline = terms.QUANTITIES["deadline"].of(step.deadline, (*place, "deadline"), self._note)
        limit = whole if deadline is None else min(whole, deadline)
        _, at = self._said("lease", step, place)
        said = at if self._tree.has(at) else (*place, "deadline") if deadline is not None else ("deadline",)
        terms.check_lease(amounts["lease"], limit, said, self._note)
        files, sources = self._inputs(step, place)
        self._check_shards(step, place, files, sources)
        self._check_words(step, place)
        return StepSubmit(
            name=name,
            program=str(self._folder / ("" if step.program is UNSET else step.program)),
            points=self._points(name, step, place),
            swept=bool(step.sweep),
            env=self._env(step, place),
            files=[str(path) for path in files],
            sources=sources,
            together=step.together,
            shards=None if step.shards is UNSET else step.shards,
            needs=step.needs,
            price=amounts["price"],
            fuel=amounts["fuel"],
            memory=amounts["memory"],
            output_max=amounts["output"],
            lease_ms=amounts["lease"],
            deadline_ms=deadline,
            checks=terms.CHECKS[_first(step.check, top.check, terms.CHECK)],
            bond=None if step.bond is UNSET and top.bond is UNSET else amounts["bond"],
            retries=_first(step.retries, top.retries, terms.RETRIES),
            output=self._output(name, step, place),
        )

    def _said(self, field: str, step: Step, place: Place) -> tuple[str | msgspec.UnsetType, Place]:
        """What was written for an amount, by the step or else by the file, and where."""
        within: Place = ("limits", field) if field in Limits.__struct_fields__ else (field,)
        for source, at in ((step, (*place, *within)), (self._file, within)):
            text = getattr(source.limits if len(within) == 2 else source, field)
            if text is not UNSET:
                return text, at
        return UNSET, (*place, *within)

    def _amount(self, field: str, step: Step, place: Place) -> int:
        text, at = self._said(field, step, place)
        return terms.QUANTITIES[field].of(text, at, self._note)

    def _output(self, name: str, step: Step, place: Place) -> str | None:
        given, at = step.output, (*place, "output")
        if given is UNSET:
            if self._file.output is UNSET:
                return None
            folder, at = self._folder / self._file.output / name, ("output",)
        else:
            folder = self._folder / given
        try:
            there = next(path for path in (folder, *folder.parents) if path.exists())
            if not there.is_dir():
                what = f"{shown(str(there))} is a file, not a folder"
                self._note(at, what, "take another name", "cannot_write")
        except OSError as error:  # a name too long, a folder that one may not enter
            what = f"cannot write to {shown(str(folder))}: {error.strerror}"
            self._note(at, what, "take another folder", "cannot_write")
        return str(folder)

    def _check_outputs(self, planned: dict[str, StepSubmit]) -> None:
        """No two steps write one file. What is made of other steps' outputs is known later."""
        taken: dict[tuple[str, str], str] = {}
        for name, step in planned.items():
            if step.output is None or step.sources:
                continue
            try:
                names = unique_names([Path(file) for file in step.files])
                laid = lay_out(step, [Input(entry, _ANY, 0) for entry in names])
            except UsageError:
                continue  # told already
            for stem in (stem for one in laid for stem in one.stems):
                other = taken.setdefault((os.path.normpath(step.output), stem), name)
                if other != name:
                    what = f"{shown(stem)[1:-1]}.out is there already, by the step {other}"
                    remedy = "give each step a folder of its own"
                    self._note(("steps", name, "output"), what, remedy, "same_output")
                    break

    def _check_words(self, step: Step, place: Place) -> None:
        words: list[tuple[Place, str]] = [(("args", number), word) for number, word in enumerate(step.args)]
        for name, value in step.env.items():
            words += [(("env", name), name), (("env", name), value)]
        for name, values in step.sweep.items():
            if isinstance(values, list):
                words += [(("sweep", name, number), word) for number, word in enumerate(values)]
        for at, word in words:
            if not is_composed(word):
                what = f"{shown(word)} has accents as characters of their own"
                self._note((*place, *at), what, "write each letter with its accent as one (NFC)")

    def _env(self, step: Step, place: Place) -> dict[str, str]:
        for name in VARIABLES_OF_A_SHARD & step.env.keys():
            self._note((*place, "env", name), "every shard has it from the network", "take another name")
        return step.env

    # -- points ------------------------------------------------------------------------------------------

    def _points(self, name: str, step: Step, place: Place) -> list[list[str]]:
        if not step.sweep:
            return [step.args]
        try:
            points = sweep.points_of(step.sweep)
        except sweep.Wrong as wrong:
            self._take(wrong.problem, (*place, "sweep"))
            return [step.args]
        filled: list[list[str]] = []
        size = 0
        try:
            for index, point in enumerate(points):
                filled.append(sweep.arguments(step.args, point, index))
                size += sum(map(len, filled[-1]))
                if size > SPEC_SIZE_MAX:
                    raise sweep.Wrong((), f"over {SPEC_SIZE_MAX} characters in all", "shorten the arguments")
        except sweep.Wrong as wrong:
            self._take(wrong.problem, (*place, "args"))
            return [step.args]
        self.points[name] = points
        return filled

    def _check_shards(self, step: Step, place: Place, files: Sequence[Path], sources: list[Source]) -> None:
        some = bool(step.inputs)
        if step.together and not some:
            self._note((*place, "together"), "there are no inputs to see together", "add `inputs:`")
        if step.sweep and step.shards is not UNSET and not some:
            what = "a sweep without inputs has a shard for each point"
            self._note((*place, "shards"), what, "take `shards` out, or sweep over one more name")
        if sources or not files:
            return
        if step.together:
            size = sum(path.stat().st_size for path in files)
            shards = 1 if step.shards is UNSET else step.shards
            if size > TOGETHER_SIZE_MAX * shards:
                what = f"{size} bytes of inputs together; a shard may have {TOGETHER_SIZE_MAX}"
                self._note((*place, "inputs"), what, "give `shards:`, and merge in one more step")
        try:
            groups = share_out(files, _groups(step))
            if step.sweep:
                share_out([None] * len(groups) * len(sweep.points_of(step.sweep)), None)
        except UsageError as error:
            field = "inputs" if step.shards is UNSET else "shards"
            self._note((*place, field), str(error), (error.next_step or "").replace("--", ""), error.code)
        except sweep.Wrong:
            pass  # told already

    # -- inputs ------------------------------------------------------------------------------------------

    def _inputs(self, step: Step, place: Place) -> tuple[list[Path], list[Source]]:
        files: dict[Path, int] = {}
        sources: list[Source] = []
        for number, given in enumerate(step.inputs):
            at = (*place, "inputs", number)
            if isinstance(given, From):
                self._check_source(given, step, at)
                sources.append(Source(step=given.step, files=given.files))
                continue
            found, problems = files_of(self._folder, given, at)
            for problem in problems[:3]:
                self._take(problem, ())
            for path in found:
                if path in files:
                    what = f"{shown(path.name)} is there already, by inputs[{files[path]}]"
                    self._note(at, what, "give each file once", "same_input_twice")
                    break
                files[path] = number
        try:
            unique_names(list(files))
        except UsageError as error:
            self._note((*place, "inputs"), str(error), error.next_step or "", error.code)
        return list(files), sources

    def _check_source(self, given: From, step: Step, at: Place) -> None:
        if not self._file.steps:
            self._note((*at, "from"), "there are no steps here to take outputs from", "name files instead")
        elif given.step not in self._file.steps:
            remedy = nearest(given.step, list(self._file.steps))
            self._note((*at, "from"), f"there is no step `{given.step}`", remedy, "bad_steps")
        elif given.step not in step.needs:
            remedy = f"add it: needs: [{', '.join((*step.needs, given.step))}]"
            self._note((*at, "from"), f"the step does not need `{given.step}`", remedy, "bad_steps")

    # -- programs ----------------------------------------------------------------------------------------

    async def look_at_programs(self, steps: Sequence[StepSubmit], cache: Path) -> None:
        ready: dict[str, Program] = {}
        for step in steps:
            place: Place = ("steps", step.name) if self._file.steps else ()
            try:
                if step.program not in ready:
                    ready[step.program] = await prepare(Path(step.program), cache)
            except UsageError as error:
                self._note((*place, "program"), str(error), error.next_step or "", error.code)
                continue
            try:
                ready[step.program].require_memory(step.memory)
            except UsageError as error:
                at = (*place, "limits", "memory")
                self._note(at, str(error), error.next_step or "", error.code)

    # -- problems ----------------------------------------------------------------------------------------

    def _note(self, place: Place, what: str, remedy: str, code: str = "bad_job_file") -> None:
        self._take(Problem(0, place, what, remedy, code), ())

    def _take(self, problem: Problem, below: Place) -> None:
        place = (*below, *problem.place)
        found = problem._replace(place=place)
        line = self._tree.line_of(place)
        if not any((line, found.what) == (one.line, one.what) for one in self.problems):
            self.problems.append(found._replace(line=line))


def _groups(step: Step) -> int | None:
    """Into how many groups inputs are shared: as many as given, else all together or each alone."""
    if step.shards is not UNSET:
        return step.shards
    return 1 if step.together else None


def _first(*values: T | msgspec.UnsetType) -> T:
    return next(value for value in values if not isinstance(value, msgspec.UnsetType))
