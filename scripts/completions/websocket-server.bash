# shellcheck shell=bash
# Completion of websocket-server for bash. Commands, options and keys come from the program itself, so that a
# new one is completed without a change here. Installed as
# PREFIX/share/bash-completion/completions/websocket-server.

# The commands, and with a command its options.
_websocket_server_words() {
    if [ $# -eq 1 ]; then
        "$1" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'
    else
        "$@" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u
    fi
}

_websocket_server() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=() words=''

    if [ "$COMP_CWORD" -gt 1 ] && [[ ${COMP_WORDS[1]} != -* ]]; then
        command=("${COMP_WORDS[1]}")
        [ "${command[0]}" != token ] || [ "$COMP_CWORD" -eq 2 ] || command+=("${COMP_WORDS[2]}")
    fi
    COMPREPLY=()
    case $before in
    --config | --pid-file | --key | --tls)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        compopt -o filenames 2>/dev/null
        return
        ;;
    --config-dir | --dir)
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        compopt -o filenames 2>/dev/null
        return
        ;;
    --kty) words='ed25519 hmac' ;;
    --format) words='jwt paseto' ;;
    --print) words=$("$program" explain-config 2>/dev/null | grep -E '^[a-z]') ;;
    --env | --pid | --kid | --sub | --ttl | --send | --group | --relay | --aud | --iss | --jti | --port | \
        --address-claim | --rights-claim) return ;;
    *)
        if [ ${#command[@]} -eq 0 ]; then
            words="$(_websocket_server_words "$program") --help --version"
            [[ $word != -* ]] || words=$(_websocket_server_words "$program" serve)' --version'
        elif [ "${command[*]}" = token ]; then
            words='issue verify --help'
        elif [ "${command[0]}" = explain-config ] && [[ $word != -* ]]; then
            words=$("$program" explain-config 2>/dev/null | grep -E '^[a-z]')
        else
            words=$(_websocket_server_words "$program" "${command[@]}")
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _websocket_server websocket-server
