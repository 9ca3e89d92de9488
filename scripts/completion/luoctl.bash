
# The function above is generated from luoctl's options. This one adds to it: the words behind `--`, which are another command;
# `help COMMAND`; options before the command; `--option=VALUE`; and the state, so that session names are of the right luod.
_luoctl() {
    local cur=$2 prev=$3 word state=""
    local -i i behind=0 current=0
    local -a words=()

    # bash makes three words of --option=VALUE. The value takes the place of a next word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == "=" && ${words[-1]} == --* && $behind -eq 0 ]]; then
            if ((i == COMP_CWORD)); then cur="" && words+=(""); fi
            continue
        fi
        if [[ $word == -- && $i -lt $COMP_CWORD && $behind -eq 0 ]]; then behind=i+1; fi
        words+=("$word")
    done
    current=${#words[@]}-1
    if ((behind > 0)); then
        case " ${words[*]:1:3} " in
        *" run "* | *" retrieve "* | *" session "*)
            if declare -F _command_offset >/dev/null; then
                _command_offset "$behind"
            elif ((COMP_CWORD == behind)); then
                __luoctl_add_completions -c
            else
                __luoctl_add_completions -f
            fi
            ;;
        esac
        return
    fi

    for ((i = 1; i < current - 1; i++)); do
        if [[ ${words[i]} == --state ]]; then state=${words[i + 1]}; fi
    done
    if [[ -n $state ]]; then local -x LUO_STATE=${state/#~\//$HOME/}; fi

    # The options before the command.
    while ((current > 1)); do
        case ${words[1]} in
        --state | --user | --timeout) i=2 ;;
        --kernel-device) i=1 ;;
        *) break ;;
        esac
        if ((current <= i)); then
            case ${words[1]} in
            --state) __luoctl_add_completions -d ;;
            --user) __luoctl_add_completions -u ;;
            esac
            if ((i == 2)); then return; fi
        fi
        words=("${words[0]}" "${words[@]:1+i}")
        current=current-i
    done

    local -a COMP_WORDS=("${words[@]}")
    local -i COMP_CWORD=current
    prev=${words[current - 1]}
    if [[ ${words[1]} == help && $current -gt 1 ]]; then
        case "${words[*]:2:current-2}" in
        "" | session | dax | hugepages) ;;
        *) return ;;
        esac
        COMP_WORDS=("${words[0]}" "${words[@]:2}")
        COMP_CWORD=current-1
        __luoctl_generated "$1" "$cur" "$prev"
        local -a commands=()
        for word in "${COMPREPLY[@]}"; do
            if [[ $word != -* ]]; then commands+=("$word"); fi
        done
        COMPREPLY=("${commands[@]}")
        return
    fi
    __luoctl_generated "$1" "$cur" "$prev"
}

complete -o filenames -F _luoctl luoctl
