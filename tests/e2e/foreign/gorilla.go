// github.com/gorilla/websocket (Debian's golang-github-gorilla-websocket-dev).
package main

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gorilla/websocket"
)

func main() {
	o := readOrder()
	headers := http.Header{}
	for name, value := range o.Headers {
		headers.Set(name, value)
	}
	dialer := websocket.Dialer{Subprotocols: o.Protocols, EnableCompression: o.Compress}
	socket, answer, err := dialer.Dial(o.URL, headers)
	must(err)
	t := talk(o, func(text []byte) { must(socket.WriteMessage(websocket.TextMessage, text)) }, func() []byte {
		_, text, err := socket.ReadMessage()
		must(err)
		return text
	})
	must(socket.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")))
	for err == nil {
		_, _, err = socket.ReadMessage()
	}
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		t.Code = closed.Code
	}
	t.Protocol = socket.Subprotocol()
	t.Compressed = strings.Contains(answer.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	tell(t)
}
