"""What `xec_magic.formats` promises: output becomes values, or an error that shows the wrong line."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xec_magic.columns import to_table
from xec_magic.errors import OptionError, ParseError
from xec_magic.formats import to_csv, to_json, to_jsonl, to_lines
from xec_magic.frames import to_frame

KUBECTL = """\
NAME                        READY   STATUS             RESTARTS       AGE     IP            NODE      NOMINATED NODE   READINESS GATES
api-6d4cf56db6-abcde        1/1     Running            0              12d     10.42.0.17    node-01   <none>           <none>
loader-7f9c8b6d5-xk2lp      0/1     CrashLoopBackOff   5 (2m3s ago)   3h12m   10.42.1.201   node-02   <none>           <none>
nightly-28391040-zz9        0/1     Pending            0              4s      <none>        <none>    node-03          <none>
"""
DOCKER = """\
CONTAINER ID   IMAGE                COMMAND                  CREATED        STATUS                    PORTS                                       NAMES
4c01db0b339c   postgres:16          "docker-entrypoint.s…"   2 hours ago    Up 2 hours (healthy)      0.0.0.0:5432->5432/tcp, :::5432->5432/tcp   db
d7886598dbe2   busybox              "sh -c 'sleep 1000'"     3 days ago     Exited (137) 2 days ago                                               sleeper
"""
SYSTEMCTL = """\
  UNIT                      LOAD      ACTIVE SUB     DESCRIPTION
  cron.service              loaded    active running Regular background program processing daemon
● nightly.service           loaded    failed failed  Nightly load of the warehouse
● plymouth.service          not-found active exited  plymouth.service

LOAD   = Reflects whether the unit definition was properly loaded.
ACTIVE = The high-level unit activation state, i.e. generalization of SUB.
SUB    = The low-level unit activation state, values depend on unit type.
3 loaded units listed. Pass --all to see loaded but inactive units, too.
To show all installed unit files use 'systemctl list-unit-files'.
"""
NETSTAT = """\
Active Internet connections (only servers)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name    
tcp        0      0 127.0.0.1:5432          0.0.0.0:*               LISTEN      812/postgres        
udp        0      0 0.0.0.0:68              0.0.0.0:*                           640/dhclient        
"""  # noqa: W291 - netstat pads its lines
LSBLK = """\
NAME        MAJ:MIN RM   SIZE RO TYPE MOUNTPOINTS
sda           8:0    0 476.9G  0 disk 
├─sda1        8:1    0   512M  0 part /boot/efi
└─sda2        8:2    0 476.4G  0 part 
  └─vg-root 253:0    0   100G  0 lvm  /
sr0          11:0    1  1024M  0 rom  
"""  # noqa: W291 - lsblk pads its lines
LSBLK_F = """\
NAME   FSTYPE FSVER LABEL UUID                                 FSAVAIL FSUSE% MOUNTPOINTS
sda                                                                           
├─sda1 vfat   FAT32       6E5A-3C21                             505.9M     1% /boot/efi
└─sda2 ext4   1.0   root  0d1f7f0e-7a52-4e3c-9b64-2f6b6a4d8f11   78.4G     9% /
"""  # noqa: W291 - lsblk pads its lines
FREE = """\
               total        used        free      shared  buff/cache   available
Mem:           24103         349       23796          12         179       23754
Swap:              0           0           0
"""
TOP = """\
top - 18:02:47 up 22 min,  0 user,  load average: 0.08, 0.04, 0.06
Tasks:  71 total,   1 running,  70 sleeping,   0 stopped,   0 zombie

    PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND
      1 root      20   0   44988  15188   8652 S   0.0   0.1   0:06.07 systemd
     34 root       0 -20       0      0      0 I   0.0   0.0   0:00.00 kworker/R-rcu g
"""
DF_MAC = """\
Filesystem     512-blocks      Used Available Capacity  Mounted on
/dev/disk3s1s1  965595304  18948888 559210672     4%    /
map auto_home           0         0         0   100%    /System/Volumes/Data/home
//nas/My Share  965595304  18948888 559210672     4%    /Volumes/My Share
"""
SS = """\
State  Recv-Q Send-Q Local Address:Port  Peer Address:PortProcess                                   
LISTEN 0      4096       127.0.0.1:37431      0.0.0.0:*    users:(("sshd",pid=812,fd=3))            
LISTEN 0      128             [::]:22            [::]:*                                             
"""  # noqa: W291 - ss pads its lines
HELM = "NAME    \tNAMESPACE\tREVISION\tSTATUS  \ngrafana \tops      \t3       \tdeployed\n"


# -- lines and JSON


def test_only_a_newline_ends_a_line():
    assert to_lines("a\rb\x0c\u2028\n\nc") == ["a\rb\x0c\u2028", "", "c"]
    assert to_lines("") == []


def test_json_is_read_with_or_without_a_byte_order_mark():
    assert to_json('\ufeff{"a": [1]}\n') == {"a": [1]}


def test_wrong_json_shows_its_line_with_a_caret_and_says_where_the_text_is():
    with pytest.raises(ParseError) as caught:
        to_json('{\n  "a": 1,\n  "b": oops\n}')
    assert caught.value.line_number == 3
    assert caught.value.line == '  "b": oops'
    message, shown, caret, hint = str(caught.value).split("\n")
    assert message.startswith("line 3, column 8: no JSON")
    assert shown[caret.index("^")] == "o"
    assert ".stdout" in hint


def test_a_wrong_line_of_a_million_characters_is_cut_around_the_fault():
    with pytest.raises(ParseError) as caught:
        to_json('["' + "x" * 500_000 + '" oops "' + "y" * 500_000)
    shown, caret = str(caught.value).split("\n")[1:3]
    assert len(shown) < 140
    assert shown[caret.index("^")] == "o"


def test_empty_output_is_no_json():
    with pytest.raises(ParseError, match="empty"):
        to_json("\n")


def test_a_number_of_thousands_of_digits_and_deep_nesting_are_parse_errors():
    for text in ("1" * 10_000, "[" * 200_000):
        with pytest.raises(ParseError):
            to_json(text)


@pytest.mark.parametrize("text", ['{"a": [1,\n2,', '{"a": [1,\n2,\n\n', '{"a": [1,\n2,  '])
def test_json_that_is_cut_off_is_said_to_be_and_its_last_line_is_shown(text):
    with pytest.raises(ParseError) as caught:
        to_json(text)
    assert str(caught.value).splitlines()[:3] == [
        "line 2, column 3: no JSON: it ends before it is complete", "    2,", "      ^",
    ]  # fmt: skip


def test_json_lines_skip_blank_lines_and_name_the_wrong_one():
    assert to_jsonl('{"a": 1}\n\n[2]\n') == [{"a": 1}, [2]]
    assert to_jsonl("") == []
    with pytest.raises(ParseError, match="line 3, column 7: no JSON lines") as caught:
        to_jsonl('{"a": 1}\n\n{"a": }')
    assert caught.value.line_number == 3


# -- CSV


def test_csv_gives_a_dict_a_row_with_quoted_newlines_and_without_the_byte_order_mark():
    assert to_csv('\ufeffname,note\r\nweb1,"a, ""b""\nc"\r\n\r\nweb2,\r\n') == [
        {"name": "web1", "note": 'a, "b"\nc'},
        {"name": "web2", "note": ""},
    ]


def test_a_csv_row_with_more_or_fewer_fields_is_refused_with_the_line_where_it_begins():
    for row in ("1", "1,2,3"):
        with pytest.raises(ParseError, match=r"line 4: \d fields under a header of 2") as caught:
            to_csv(f'a,b\n"x\ny",2\n{row}\n')
        assert caught.value.line == row


def test_csv_with_two_equal_headings_or_an_open_quote_or_nothing_is_refused():
    with pytest.raises(ParseError, match="two columns are called 'id'"):
        to_csv("id,name,id\n1,a,2\n")
    with pytest.raises(ParseError, match="line 2: no CSV: a quote is opened and never closed"):
        to_csv('a,b\n1,"2\n')
    with pytest.raises(ParseError, match="empty"):
        to_csv("")


def test_csv_takes_one_character_as_delimiter():
    assert to_csv("a\tb\n1\t2\n", "\t") == [{"a": "1", "b": "2"}]
    with pytest.raises(OptionError, match="cannot separate fields"):
        to_csv("a", "||")


@given(st.lists(st.lists(st.text(st.characters(blacklist_characters="\r\0", codec="utf-8")), min_size=2, max_size=2)))
def test_csv_gives_back_what_was_written(rows):
    text = "a,b\n" + "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows)
    assert [list(row.values()) for row in to_csv(text)] == rows


# -- tables


def test_kubectl_headings_of_two_words_are_one_column_and_cells_keep_their_blanks():
    rows = to_table(KUBECTL)
    assert list(rows[0])[-2:] == ["NOMINATED NODE", "READINESS GATES"]
    assert rows[1]["RESTARTS"] == "5 (2m3s ago)"
    assert rows[2] == {
        "NAME": "nightly-28391040-zz9", "READY": "0/1", "STATUS": "Pending", "RESTARTS": "0", "AGE": "4s", "IP": "<none>",
        "NODE": "<none>", "NOMINATED NODE": "node-03", "READINESS GATES": "<none>",
    }  # fmt: skip


def test_an_empty_cell_of_docker_stays_empty():
    first, second = to_table(DOCKER)
    assert first["PORTS"] == "0.0.0.0:5432->5432/tcp, :::5432->5432/tcp"
    assert second == {
        "CONTAINER ID": "d7886598dbe2", "IMAGE": "busybox", "COMMAND": "\"sh -c 'sleep 1000'\"", "CREATED": "3 days ago",
        "STATUS": "Exited (137) 2 days ago", "PORTS": "", "NAMES": "sleeper",
    }  # fmt: skip


def test_a_header_without_rows_is_an_empty_table():
    assert to_table(DOCKER.splitlines()[0]) == []


def test_systemd_marks_and_legend_are_dropped():
    rows = to_table(SYSTEMCTL)
    assert [row["UNIT"] for row in rows] == ["cron.service", "nightly.service", "plymouth.service"]
    assert rows[1] == {
        "UNIT": "nightly.service", "LOAD": "loaded", "ACTIVE": "failed", "SUB": "failed", "DESCRIPTION": "Nightly load of the warehouse",
    }  # fmt: skip


def test_an_empty_cell_of_netstat_stays_empty():
    tcp, udp = to_table(NETSTAT)
    assert (tcp["State"], tcp["PID/Program name"]) == ("LISTEN", "812/postgres")
    assert (udp["Foreign Address"], udp["State"], udp["PID/Program name"]) == ("0.0.0.0:*", "", "640/dhclient")


def test_ss_with_its_glued_header_is_read():
    first, second = to_table(SS)
    assert first["Process"] == 'users:(("sshd",pid=812,fd=3))'
    assert second == {
        "State": "LISTEN", "Recv-Q": "0", "Send-Q": "128", "Local Address:Port": "[::]:22", "Peer Address:Port": "[::]:*", "Process": "",
    }  # fmt: skip


def test_lsblk_loses_its_branches_and_keeps_its_empty_cells():
    rows = to_table(LSBLK)
    assert [row["NAME"] for row in rows] == ["sda", "sda1", "sda2", "vg-root", "sr0"]
    assert [row["MOUNTPOINTS"] for row in rows] == ["", "/boot/efi", "", "/", ""]
    disk, efi, root = to_table(LSBLK_F)
    assert set(disk.values()) == {"sda", ""}
    assert (efi["LABEL"], efi["UUID"], efi["FSUSE%"]) == ("", "6E5A-3C21", "1%")
    assert (root["LABEL"], root["FSAVAIL"]) == ("root", "78.4G")


def test_the_column_without_heading_is_named_with_the_empty_text():
    memory, swap = to_table(FREE)
    assert (memory[""], memory["available"]) == ("Mem:", "23754")
    assert (swap[""], swap["free"], swap["shared"]) == ("Swap:", "0", "")


def test_the_summary_of_top_is_skipped_and_the_last_column_takes_the_rest():
    assert [row["COMMAND"] for row in to_table(TOP)] == ["systemd", "kworker/R-rcu g"]


def test_df_keeps_names_with_blanks_in_their_columns():
    rows = to_table(DF_MAC)
    assert [row["Filesystem"] for row in rows] == ["/dev/disk3s1s1", "map auto_home", "//nas/My Share"]
    assert rows[2]["Mounted on"] == "/Volumes/My Share"


def test_a_row_shifted_by_a_cell_too_wide_is_still_cut_into_words():
    rows = to_table(
        "USER       PID %CPU    VSZ   RSS TTY      STAT COMMAND\n"
        "root         1  0.4  44988 15188 ?        Ss   /sbin/init splash\n"
        "analytics-batch 31337 97.1 1234567890 987654321 pts/0 Rl+ python load.py --all\n"
    )
    assert list(rows[1].values()) == [
        "analytics-batch",
        "31337",
        "97.1",
        "1234567890",
        "987654321",
        "pts/0",
        "Rl+",
        "python load.py --all",
    ]


def test_a_table_with_tabs_is_cut_at_them():
    assert to_table(HELM) == [{"NAME": "grafana", "NAMESPACE": "ops", "REVISION": "3", "STATUS": "deployed"}]


def test_a_ruler_below_the_header_is_dropped():
    assert to_table("Package    Version\n---------- -------\npip        24.0\n") == [
        {"Package": "pip", "Version": "24.0"}
    ]


@pytest.mark.parametrize("row", ["root         2  0.0", "oops", "error: connection lost"])
def test_a_row_with_too_few_fields_is_refused_with_its_line(row):
    text = "USER       PID %CPU TTY   COMMAND\nroot         1  0.4 ?     init\n" + row + "\n"
    with pytest.raises(ParseError, match=r"line 3: \d fields under a header of 5 \(USER \| PID") as caught:
        to_table(text)
    assert (caught.value.line_number, caught.value.line) == (3, row)
    assert ".stdout" in str(caught.value)


def test_a_name_with_a_blank_that_would_shift_the_columns_is_refused():
    with pytest.raises(ParseError, match="line 2: the line does not stand under its header"):
        to_table("Filesystem Size Used Mounted on\n/dev/my disk 12G 4G /mnt\n")


@pytest.mark.parametrize(
    "text",
    [
        "total 36\n-rw-r--r-- 1 root root 1078 Nov 23 17:59 LICENSE\n",
        "-rw-r--r-- 1 root root 1078 Nov 23 17:59 LICENSE\n",
        "LICENSE\nREADME.md\n",
        "4.0K\t./a\n8.0K\t.\n",
        "Architecture:          x86_64\nCPU(s):                2\n",
        "/dev/vda on / type ext4 (rw)\nproc on /proc type proc (rw)\n",
        "HOME=/root USER=root\nA=1 B=2\n",
    ],
)
def test_output_without_a_header_is_no_table(text):
    with pytest.raises(ParseError, match=r"line 1: .* header"):
        to_table(text)


def test_headers_of_two_levels_are_refused():
    with pytest.raises(ParseError):
        to_table("procs -----memory---- -swap-\n r  b   swpd   free  si  so\n 1  0      0 236520   0   0\n")


def test_a_second_table_is_refused():
    with pytest.raises(ParseError, match="line 6: more text after the table's blank line"):
        to_table(KUBECTL + "\n" + KUBECTL)


def test_two_equal_headings_are_refused():
    with pytest.raises(ParseError, match="two columns are called 'PID'"):
        to_table("  PID   PID\n    1     1\n")


def test_an_empty_output_is_no_table():
    with pytest.raises(ParseError, match="empty"):
        to_table("\n")


def test_wide_characters_that_move_the_columns_are_refused_not_cut_elsewhere():
    assert to_table("NAME   STATUS\nÄpfel  日本 ok\n") == [{"NAME": "Äpfel", "STATUS": "日本 ok"}]
    with pytest.raises(ParseError, match="line 2"):
        to_table("NAME   STATUS\n日本   ok\n")


@given(st.text(st.sampled_from("ab \t\n-:1/│●"), max_size=200))
def test_any_text_is_a_table_or_a_parse_error(text):
    try:
        to_table(text)
    except ParseError as error:
        assert str(error)  # noqa: PT017 - most texts raise


def _output(*command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/sbin"}
    ).stdout


def test_ps_of_this_machine_gives_a_row_for_each_process():
    text = _output("ps", "aux")
    rows = to_table(text)
    assert len(rows) == len(text.splitlines()) - 1
    assert all(row["PID"].isdigit() and row["TIME"][0].isdigit() and row["COMMAND"] for row in rows)
    assert all(row["PID"].isdigit() and row["CMD"] for row in to_table(_output("ps", "-ef")))


@pytest.mark.parametrize("option", ["-P", "-h"])
def test_df_of_this_machine_gives_its_mount_points(option):
    rows = to_table(_output("df", option))
    assert "/" in {row["Mounted on"] for row in rows}
    assert all(list(row.values())[4].rstrip("%").isdigit() or list(row.values())[4] == "-" for row in rows)


def test_free_and_lsblk_of_this_machine_are_tables():
    assert [row[""] for row in to_table(_output("free", "-m"))] == ["Mem:", "Swap:"]
    text = _output("lsblk")
    assert all(row["NAME"] for row in to_table(text) if row["TYPE"])


# -- frames


def test_a_frame_of_json_has_a_row_for_each_object():
    assert to_frame('[{"a": 1, "b": "x"}, {"a": 2}]').to_dict("list")["a"] == [1, 2]
    assert to_frame('{"a": [1, 2], "b": [3, 4]}').shape == (2, 2)
    assert to_frame('{"a": 1, "b": [3, 4]}').shape == (1, 2)
    assert to_frame('{"a": 1}\n{"a": 2}\n').a.tolist() == [1, 2]
    assert to_frame("[[1, 2], [3, 4]]").shape == (2, 2)


def test_a_wrong_json_line_is_named_when_a_frame_is_asked_for():
    with pytest.raises(ParseError, match="line 2, column 7"):
        to_frame('{"a": 1}\n{"a": }\n')
    with pytest.raises(ParseError, match="mixes objects"):
        to_frame('[{"a": 1}, 2]')


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_frame_of_csv_has_numbers_where_the_whole_column_is_numeric(delimiter):
    frame = to_frame("name,n,x,zip,mixed\na,1,1.5,007,1\nb,2,,010,two\n".replace(",", delimiter))
    assert frame.n.tolist() == [1, 2]
    assert frame.x.tolist()[0] == 1.5
    assert frame.x.isna().tolist() == [False, True]
    assert frame.zip.tolist() == ["007", "010"]
    assert frame.mixed.tolist() == ["1", "two"]


def test_a_frame_of_a_table_has_its_columns_also_without_rows():
    assert to_frame(FREE).used.tolist() == [349, 0]
    assert to_frame(DF_MAC)["Mounted on"].tolist()[0] == "/"
    assert to_frame(TOP).PID.tolist() == [1, 34]
    assert list(to_frame("NAME   STATUS   PORTS\n").columns) == ["NAME", "STATUS", "PORTS"]
    assert to_frame(HELM).NAMESPACE.tolist() == ["ops"]


def test_numbers_that_would_come_back_changed_stay_text():
    frame = to_frame("big,hash,code\n12345678901234567890,1e999,0644\n")
    assert frame.iloc[0].tolist() == ["12345678901234567890", "1e999", "0644"]


def test_text_that_is_no_frame_names_what_was_tried():
    with pytest.raises(ParseError, match=r"tried JSON, JSON lines, a table \(line 1: "):
        to_frame("hello\n")
    with pytest.raises(ParseError, match=r"tried JSON, JSON lines, CSV by comma \(line 2: "):
        to_frame("a,b\n1\n")
    with pytest.raises(ParseError, match="CSV by comma and by semicolon"):
        to_frame("a,b;c\n1,2;3\n")
    with pytest.raises(ParseError, match="empty"):
        to_frame("")


def test_without_pandas_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match=r"pandas is not installed; pip install 'xec-magic\[frames\]'"):
        to_frame("[]")


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(-(2**40), 2**40)), max_size=4))
def test_a_frame_of_any_array_of_objects_has_as_many_rows(rows):
    frame = to_frame(json.dumps(rows))
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == len(rows)
