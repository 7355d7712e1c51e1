// nhooyr.io/websocket, which is github.com/coder/websocket today (Debian's golang-nhooyr-websocket-dev).
package main

import (
	"context"
	"net/http"
	"strings"

	"nhooyr.io/websocket"
)

func main() {
	o := readOrder()
	headers := http.Header{}
	for name, value := range o.Headers {
		headers.Set(name, value)
	}
	options := &websocket.DialOptions{HTTPHeader: headers, Subprotocols: o.Protocols}
	options.CompressionMode = websocket.CompressionDisabled
	if o.Compress {
		options.CompressionMode = websocket.CompressionNoContextTakeover
	}
	background := context.Background()
	socket, answer, err := websocket.Dial(background, o.URL, options)
	must(err)
	socket.SetReadLimit(64 << 20)
	t := talk(o, func(text []byte) { must(socket.Write(background, websocket.MessageText, text)) }, func() []byte {
		_, text, err := socket.Read(background)
		must(err)
		return text
	})
	t.Protocol = socket.Subprotocol()
	t.Compressed = strings.Contains(answer.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	must(socket.Close(websocket.StatusNormalClosure, "")) // an error unless the server closes with the same code
	t.Code = int(websocket.StatusNormalClosure)
	tell(t)
}
