"""The defects, each a text of the program and what stands there instead, and the tests that should notice."""

# ruff: noqa: E501  # what is sought stands here as it stands there

from __future__ import annotations

import os
from typing import NamedTuple

_KILLS = ("tests/faults/test_blind_kills.py", "tests/faults/test_kill_points.py")
_MODEL = ("tests/faults/test_sync_model.py",)
_VOICES = ("tests/faults/test_foreign_voices.py",)
_BYTES = ("tests/faults/test_bad_bytes.py", "tests/faults/test_hostile_tree.py")
_GUESTS = ("tests/faults/test_house_guests.py",)
_DISK = ("tests/faults/test_disk_trouble.py",)


class Mutant(NamedTuple):
    """A defect: in the file, `old` becomes `new`; `tests` are the suites that should notice."""

    name: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def apply(mutant: Mutant, folder: str) -> None:
    """Seeds a defect into a copy of the program. Raises LookupError when the text is not there exactly once."""
    path = os.path.join(folder, mutant.file)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(mutant.old) != 1:
        raise LookupError(f"{mutant.name}: {mutant.file} holds its text {text.count(mutant.old)} times")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(mutant.old, mutant.new))


MUTANTS = (
    Mutant(
        "no-fsync",
        "a line is acknowledged before it is flushed",
        "thrum/store/disk.py",
        "            os.fdatasync(descriptor)\n",
        "",
        ("tests/faults/test_power_cut.py",),
    ),
    Mutant(
        "replace-no-fsync",
        "a file is renamed into place before it is flushed",
        "thrum/store/disk.py",
        "        write_all(descriptor, data)\n        os.fsync(descriptor)\n        _rename(temporary, path)\n",
        "        write_all(descriptor, data)\n        _rename(temporary, path)\n",
        ("tests/faults/test_power_cut.py",),
    ),
    Mutant(
        "ack-before-write",
        "the answer is given while the line is still being written",
        "thrum/store/journal.py",
        "        return self._log(self.check(agent_id, stated)).append(stated)\n",
        "        import threading\n\n        threading.Timer(0.02, self._log(self.check(agent_id, stated)).append, [stated]).start()\n        return []\n",
        _KILLS,
    ),
    Mutant(
        "answered-before-flushed",
        "who sends together with others is answered before it is durable",
        "thrum/engine.py",
        "        for caller, refusal in self._state_all(stage):\n            found[caller] = refusal\n",
        "        import threading\n\n        threading.Timer(0.02, lambda: list(self._state_all(stage))).start()\n",
        ("tests/test_together.py", "tests/faults/test_kill_points.py"),
    ),
    Mutant(
        "answered-and-left",
        "what was sent is shown to those who listen only when somebody asks for something else",
        "thrum/daemon/worker.py",
        "            self._settle(passed_on)\n            del jobs",
        "            del jobs",
        ("tests/daemon/test_worker.py", "tests/daemon/test_delivery.py"),
    ),
    Mutant(
        "filed-before-the-answer",
        "what was sent is filed while the loop still has the answer to pass on",
        "thrum/daemon/worker.py",
        "                passed_on.wait(PASSING_ON)\n",
        "                passed_on.is_set()\n",
        ("tests/daemon/test_worker.py",),
    ),
    Mutant(
        "glance-at-what-stirred",
        "who-has tells what was known of a large worktree before its files were touched",
        "thrum/git/watched.py",
        "            return self._context if self._stirred() is None else None\n",
        "            return self._context if self._stirred() is not self else None\n",
        ("tests/git/test_watched.py",),
    ),
    Mutant(
        "named-twice",
        "of two rows of one name in a pushed tree, any may count",
        "thrum/git/objects.py",
        "        raise NamedTwiceError\n",
        "        pass\n",
        ("tests/git/test_branch.py", "tests/git/test_objects.py"),
    ),
    Mutant(
        "left-out-means-anything",
        "an option that is left out means what it was given the first time",
        "thrum/cli/plain.py",
        "        if opts.get(name) is not None or ctx.default_map",
        "        if (opts.get(name) is not None and self._known) or ctx.default_map",
        ("tests/cli/test_plain.py",),
    ),
    Mutant(
        "news-during-the-look",
        "mail that comes while whoever waits takes the first look is not heard",
        "thrum/daemon/looks.py",
        "            while found is None and seen != self._feed.generation:",
        "            while found is None and seen is None:",
        ("tests/daemon/test_looks.py",),
    ),
    Mutant(
        "touched-and-believed",
        "a log that the system says was touched is not looked at",
        "thrum/store/glance.py",
        "        if not all(path in self._files and disk.signature(path) == self._files[path] for path in files):\n",
        "        if not all(path in self._files for path in files):\n",
        ("tests/store/test_glance.py", "tests/test_together.py"),
    ),
    Mutant(
        "failed-flush-told-to-one",
        "of those whose flush failed together only the first hears of it",
        "thrum/store/journal.py",
        "            return [], [StorageError(str(trouble), trouble.hint) for _ in appends]\n",
        "            return [], [StorageError(str(trouble), trouble.hint), *[None] * (len(appends) - 1)]\n",
        ("tests/test_together.py",),
    ),
    Mutant(
        "glance-at-folders-only",
        "a line that another process wrote is not seen as long as its file is there",
        "thrum/store/glance.py",
        "            all(disk.signature(path) == state for path, state in self._files.items())\n            and all(_folder(path)",
        "            all(_folder(path)",
        ("tests/store/test_glance.py", "tests/test_together.py"),
    ),
    Mutant(
        "glued-tail",
        "what a killed writer left unfinished is glued to the next line",
        "thrum/store/log.py",
        "        if whole == len(data):\n            return\n",
        "        return\n",
        _KILLS,
    ),
    Mutant(
        "short-write-trusted",
        "a write that took only some bytes is taken for a whole one",
        "thrum/store/disk.py",
        "    while view:\n        view = view[os.write(descriptor, view) :]\n",
        "    os.write(descriptor, view)\n",
        _DISK,
    ),
    Mutant(
        "no-log-lock",
        "two processes append to one log without asking each other",
        "thrum/store/log.py",
        "            with disk.locked(self.folder):\n",
        "            with contextlib.nullcontext():\n",
        ("tests/store/test_log.py", *_KILLS),
    ),
    Mutant(
        "no-compare-and-swap",
        "the branch is moved without looking where it is",
        "thrum/git/libgit.py",
        "                if self._target(ref) != old and not (broken and self.head(ref) is None):\n                    return False\n",
        "",
        ("tests/git/test_objects.py", *_MODEL),
    ),
    Mutant(
        "push-by-force",
        "a push writes over what others pushed meanwhile",
        "thrum/git/remote.py",
        "    options = [*_look_after(place, remote), *lease]\n",
        '    options = [*_look_after(place, remote), "--force"]\n',
        ("tests/git/test_remote.py", "tests/sync/test_cycle.py"),
    ),
    Mutant(
        "drop-unparsed",
        "a merge keeps only the lines it understands",
        "thrum/core/union.py",
        "    return join(set(split(ours)) | set(split(theirs)))\n",
        "    return join(line for line in set(split(ours)) | set(split(theirs)) if canonical_key(line)[0] == 0)\n",
        ("tests/core/test_union.py", *_BYTES, *_MODEL),
    ),
    Mutant(
        "newest-clock-wins",
        "of two edits the one with the later clock is shown",
        "thrum/store/stated.py",
        '    return f"{version:016d} {0 if version else at:020d} {claim}"\n',
        '    return f"{0:016d} {at:020d} {claim}"\n',
        _MODEL,
    ),
    Mutant(
        "anybody-edits",
        "an edit counts whoever states it",
        "thrum/store/fold_messages.py",
        '        where, who = "WHERE message_id = ? AND owner = ?", (message_id, owner)\n',
        '        where, who = "WHERE message_id = ? AND owner <> ?", (message_id, "")\n',
        _VOICES,
    ),
    Mutant(
        "voice-unchecked",
        "a log may state things in anybody's name",
        "thrum/store/stated.py",
        "    _check_voice(event, source)\n",
        "",
        _VOICES,
    ),
    Mutant(
        "deleted-comes-back",
        "a deletion that arrives before its message is forgotten",
        "thrum/store/fold_messages.py",
        '        edited, deleted = (among(self.sql, table, "message_id", fresh) for table in ("revision", "deletion"))\n',
        '        edited, deleted = among(self.sql, "revision", "message_id", fresh), set[str]()\n',
        ("tests/faults/test_union_model.py", *_MODEL),
    ),
    Mutant(
        "follow-the-rewind",
        "a remote that lost lines takes them from us too",
        "thrum/sync/uniting.py",
        "            tree = self._gather(self.objects.tree_of(ours))\n",
        "            tree = self._gather(self.objects.tree_of(theirs or ours))\n",
        ("tests/sync/test_trouble.py", "tests/sync/test_cycle.py", *_MODEL),
    ),
    Mutant(
        "purge-forgotten",
        "what was purged comes back with the next peer",
        "thrum/store/purges.py",
        "    return Purged(count, marks, frozenset(row[0]",
        "    return Purged(count, {}, frozenset(row[0]",
        ("tests/sync/test_purge.py",),
    ),
    Mutant(
        "any-origin",
        "any web page may open the WebSocket",
        "thrum/daemon/gate.py",
        "        if origins and (len(origins) > 1 or origins[0] not in self._origins):\n",
        "        if False:\n",
        _VOICES,
    ),
    Mutant(
        "any-host",
        "a name that was rebound to this machine is good enough",
        "thrum/daemon/gate.py",
        "        if len(hosts) != 1 or hosts[0] not in self._hosts:\n",
        "        if False:\n",
        _VOICES,
    ),
    Mutant(
        "any-user",
        "other users may talk to the daemon",
        "thrum/daemon/unix.py",
        '        if _peer_uid(transport.get_extra_info("socket")) != os.geteuid():\n',
        "        if False:\n",
        _VOICES,
    ),
    Mutant(
        "hook-exits-1",
        "a hook that cannot leave its mark fails the commit",
        "githooks/post-checkout",
        "  printf '' >\"$dir/thrum-mark\"\n} 2>/dev/null || :\n",
        "  printf '' >\"$dir/thrum-mark\"\n} 2>/dev/null || code=1\n",
        ("tests/git/test_hooks.py", *_GUESTS),
    ),
    Mutant(
        "read-before-written",
        "mail counts as read though nobody took the output",
        "thrum/__main__.py",
        "        if output.after is not None and code == output.exit:\n",
        "        if output.after is not None:\n",
        ("tests/faults/test_disk_trouble.py", "tests/cli"),
    ),
    Mutant(
        "request-id-ignored",
        "a send that is tried again is a second message",
        "thrum/__main__.py",
        "    request = os.urandom(8).hex()\n",
        '    request = ""\n',
        ("tests/test_thin.py::test_what_was_sent_through_a_dying_daemon_is_sent_once", *_KILLS),
    ),
    Mutant(
        "links-followed",
        "a symlink in the remote's tree is taken for a log",
        "thrum/sync/files.py",
        "    if source is None or entry.mode != BLOB:\n",
        "    if source is None or entry.is_tree:\n",
        ("tests/sync/test_hostile.py", *_BYTES),
    ),
    Mutant(
        "damage-trusted",
        "a database that is no database any more is not noticed",
        "thrum/store/projection.py",
        "            elif self._is_damage(error):\n                self._build_anew()\n            else:\n                raise\n",
        "            else:\n                raise\n",
        ("tests/faults/test_database_loss.py",),
    ),
    Mutant(
        "any-database",
        "a database that another program or version left is believed",
        "thrum/store/database.py",
        '        if said != {"version": schema.VERSION, "inode": inode}:\n',
        '        if not said.get("version"):\n',
        ("tests/faults/test_database_loss.py",),
    ),
    Mutant(
        "escapes-printed",
        "a stranger's text reaches the terminal as it is",
        "thrum/core/printable.py",
        "    return _DANGEROUS.sub(_escape, text)\n",
        "    return text\n",
        ("tests/faults/test_escapes.py",),
    ),
    Mutant(
        "uninstall-forgets",
        "the hook that was there before does not come back",
        "thrum/git/hookfiles.py",
        "        os.replace(original, path)\n    else:\n        os.unlink(path)\n",
        "        os.unlink(original)\n    os.unlink(path)\n",
        ("tests/git/test_hooks.py", *_GUESTS),
    ),
    Mutant(
        "public-unasked",
        "what is said goes to a remote that anybody may read",
        "thrum/sync/cycle.py",
        "        permission.require(self.known, self.place, name, self.settings)\n",
        "",
        ("tests/sync/test_permission.py",),
    ),
    Mutant(
        "half-a-lock",
        "two daemons may own one repository",
        "thrum/store/disk.py",
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n    except BlockingIOError:\n        os.close(descriptor)\n        return None\n",
        "        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)\n    except BlockingIOError:\n        os.close(descriptor)\n        return None\n",
        ("tests/faults/test_owners.py",),
    ),
    Mutant(
        "unflushed-fetch",
        "objects that a fetch brought are not flushed",
        "thrum/git/remote.py",
        "    *DURABLE,  # by itself",
        "    # by itself",
        ("tests/faults/test_power_cut.py",),
    ),
    Mutant(
        "told-before-stored",
        "the position moves before the rows are there",
        "thrum/store/projection.py",
        "            self._shelve(connection, chapter)\n            count += len(chapter.statements)\n",
        "            self._shelve(connection, chapter)\n            connection.execute('COMMIT')\n            connection.execute('BEGIN IMMEDIATE')\n            count += len(chapter.statements)\n",
        _KILLS,
    ),
    Mutant(
        "page-without-its-end",
        "what bears the number behind a page's last message is told to nobody",
        "thrum/store/arrivals.py",
        "        return _page(rows, cursor._replace(seq=seq, changes=changes))\n",
        "        return _page(rows, cursor._replace(seq=seq + 1, changes=changes))\n",
        ("tests/store/test_arrivals.py", "tests/daemon/test_delivery.py"),
    ),
    Mutant(
        "deaf-to-a-full-client",
        "a client that has yet to read is told more, until it is dropped",
        "thrum/daemon/delivery.py",
        "            if ear.is_full:\n                continue\n",
        "",
        ("tests/daemon/test_delivery.py",),
    ),
    Mutant(
        "unwatched-folder",
        "a file that is tracked in an ignored folder is not seen to change",
        "thrum/git/watched.py",
        "            self._check_watched(moved)\n",
        "",
        ("tests/git/test_watched.py",),
    ),
    Mutant(
        "late-reading",
        "what was read earlier is stated over what was read later",
        "thrum/workcontexts.py",
        "            if reading.number < self._stated.get(reading.place, 0):\n                continue\n",
        "",
        ("tests/test_workcontexts.py",),
    ),
    Mutant(
        "waiting-for-the-gone",
        "what a client that has left asked to wait for is waited for",
        "thrum/daemon/dispatch.py",
        "        seconds = 0.0 if self._is_gone else _read_timeout(params)\n",
        "        seconds = _read_timeout(params)\n",
        ("tests/daemon/test_unix.py",),
    ),
    Mutant(
        "unanswered-at-the-end",
        "what an MCP client asked before it closed its end is called failed, though it was done",
        "thrum/mcp/intake.py",
        "            await self._wire.answered()\n",
        "",
        ("tests/mcp/test_server.py",),
    ),
)
"""At least one for each promise of docs/reliability.md."""
