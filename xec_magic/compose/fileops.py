"""The shell functions behind `xec.files`, for any POSIX sh with the usual programs, BusyBox among them.

Each of them leaves a whole step or none, and says on standard error what is there where it cannot. What is new is made
under a name of its own beside its place and renamed at the end; a failure removes it. A signal ends the program that runs,
and so is a failure as any other; nothing further begins then.
"""

from typing import Final

__all__ = ["FUNCTIONS"]

FUNCTIONS: Final = r"""
xec_halt= # the exit code for a signal that has come

xec_step() { # OPERATION WORD...: one operation
    trap 'xec_halt=129; trap "" HUP' HUP # what still cleans up is not disturbed by another one
    trap 'xec_halt=130; trap "" INT' INT
    trap 'xec_halt=143' TERM
    xec_said=
    xec_go && "$@" && xec_code=0 || xec_code=$?
    xec_go && return "$xec_code"
    [ -n "$xec_said" ] || if [ "$xec_code" -eq 0 ]; then xec_say "stopped when this was done"; else xec_say "stopped before this was done"; fi
    trap - EXIT HUP INT TERM
    exit "$xec_halt"
}

xec_go() { [ -z "$xec_halt" ]; }

xec_say() { printf '%s\n' "$*" >&2; xec_said=x; }

xec_here() { [ -e "$1" ] || [ -L "$1" ]; }

xec_there() { # PATH: something is there
    xec_here "$1" || { xec_say "$1: no such file or directory"; return 1; }
}

xec_free() { # PATH DIRECTORY: a file can have this name
    [ -d "$2" ] || { xec_say "$2: no such directory"; return 1; }
    [ ! -d "$1" ] || { xec_say "$1 is a directory; end the name with / to put something into it"; return 1; }
    [ -f "$1" ] || [ -L "$1" ] || [ ! -e "$1" ] || { xec_say "$1 is no file but a pipe, a socket or a device"; return 1; }
}

xec_inside() { # DIRECTORY: where it really is, / behind it; to be called in $( ), which takes newlines off its end
    cd -P "$1" 2>/dev/null && printf %s/ "${PWD%/}" && return
    xec_say "$1 cannot be entered: nothing was done"
    return 1
}

xec_outside() { # SOURCE DIRECTORY: the directory does not lie in the source
    [ -d "$1" ] && [ ! -L "$1" ] || return 0
    xec_from=$(xec_inside "$1") && xec_to=$(xec_inside "$2") || return 1
    case $xec_to in "$xec_from"*) xec_say "$1 cannot go into itself: $2"; return 1 ;; esac
}

xec_disk() { df -P "$1" 2>/dev/null | awk 'NR == 2 { print $1, $NF }'; }

xec_disks() { # PATH PATH: note where they are
    xec_from=$(xec_disk "$1") && xec_to=$(xec_disk "$2") && xec_go # what df was stopped in is no answer
}

xec_drop() { # TEMPORARY: remove it, or say that it is there
    if xec_here "$1"; then
        [ -L "$1" ] || chmod -R u+rwX "$1" 2>/dev/null
        rm -rf "$1" || xec_say "$1 is left behind; remove it"
    fi
}

xec_place() { # TEMPORARY DESTINATION: give it its name
    # A signal may end mv when it has done so.
    xec_go && { mv -f "$1" "$2" || ! xec_here "$1"; }
}

xec_copy() { # SOURCE DESTINATION DIRECTORY TEMPORARY
    xec_there "$1" && xec_free "$2" "$3" && xec_outside "$1" "$3" || return 1
    cp -RHp "$1" "$4" && xec_place "$4" "$2" && return 0
    xec_drop "$4"
    xec_say "not copied: $2 is as it was"
    return 1
}

xec_move() { # SOURCE DESTINATION DIRECTORY TEMPORARY DIRECTORY_OF_SOURCE
    xec_there "$1" && xec_free "$2" "$3" && xec_outside "$1" "$3" || return 1
    xec_disks "$5" "$3" || return 1
    if [ "$xec_from" = "$xec_to" ]; then
        mv -f "$1" "$2" && return 0
        if xec_here "$1"; then xec_say "not moved: $1 is still there"; else xec_say "$1 is gone"; fi
        return 1
    fi
    # To another file system a move is a copy and a removal; here nothing is removed before all of it has arrived.
    if ! cp -RPp "$1" "$4" || ! xec_place "$4" "$2"; then
        xec_drop "$4"
        xec_say "not moved: $1 is still there, $2 is as it was"
        return 1
    fi
    xec_go && rm -rf "$1" && return 0
    if xec_here "$1"; then xec_say "$2 is complete, but $1 could not be removed, or not all of it"; else return 0; fi
    return 1
}

xec_spare() { # PATH: nobody would miss it but its owner
    [ -d "$1" ] && [ ! -L "$1" ] || return 0
    xec_real=$(xec_inside "$1") || return 1
    for xec_kept in "${HOME:-/}" "$(xec_inside "${HOME:-/}" 2>/dev/null)" "$(xec_inside . 2>/dev/null || pwd -P)"; do
        case $xec_kept/ in "$xec_real"*) xec_say "$1 holds ${xec_kept%/}; force=True deletes it"; return 1 ;; esac
    done
    xec_disks "$1" "$1/.." || return 1
    [ "$xec_from" = "$xec_to" ] || { xec_say "$1 is where a disk is mounted; force=True deletes it"; return 1; }
}

xec_delete() { # PATH FORCE
    xec_there "$1" || return 1
    [ "$2" = force ] || xec_spare "$1" || return 1
    xec_go && rm -rf "$1" && return 0
    if xec_here "$1"; then xec_say "$1 is still there, all or a part of it"; else xec_say "$1 is gone"; fi
    return 1
}

xec_mkdir() { mkdir -p "$1"; }

xec_chmod() { chmod "$1" "$2"; }

xec_fill() { # TEMPORARY SIZE FORMAT
    printf "$3" >"$1" && [ "$(wc -c <"$1")" -eq "$2" ]
}

xec_write() { # PATH DIRECTORY TEMPORARY MODE SIZE FORMAT
    [ ! -L "$1" ] || { xec_say "$1 is a symbolic link; write to what it points to"; return 1; }
    xec_free "$1" "$2" || return 1
    xec_fixed=
    if [ -f "$1" ]; then # its owner and its mode stay
        cp -p "$1" "$3" || { xec_drop "$3"; xec_say "not written: $1 is as it was"; return 1; }
        [ -w "$3" ] || { chmod u+w "$3" && xec_fixed=u-w; }
    elif [ -n "$4" ]; then # nobody else may look in before it has its mode
        (umask 077 && : >"$3") || { xec_drop "$3"; return 1; }
    fi
    xec_mode=${4:-$xec_fixed}
    [ -n "$xec_mode" ] || [ -r "$3" ] || xec_mode=u+r # each program takes a millisecond
    if xec_fill "$3" "$5" "$6" && { [ -z "$xec_mode" ] || chmod "$xec_mode" "$3"; } && xec_place "$3" "$1"; then return 0; fi
    xec_drop "$3"
    xec_say "not written: $1 is as it was"
    return 1
}
"""
