// What both Go programs say and wait for.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

type order struct {
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Protocols []string          `json:"protocols"`
	Address   string            `json:"address"`
	Content   string            `json:"content"`
	CA        string            `json:"ca"`
	Compress  bool              `json:"compress"`
}

type told struct {
	Protocol   string `json:"protocol"`
	Content    string `json:"content"`
	Seq        string `json:"seq"`
	Cursor     string `json:"cursor"`
	Code       int    `json:"code"`
	Compressed bool   `json:"compressed"`
}

type message struct {
	From, Subject, Content, Seq, Cursor, InReplyTo string
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func readOrder() (o order) {
	must(json.NewDecoder(os.Stdin).Decode(&o))
	return
}

func envelope(o order, to string, kind int, more map[string]any) []byte {
	fields := map[string]any{"from": o.Address, "to": []string{to}, "type": kind, "subject": "", "content": ""}
	for name, value := range more {
		fields[name] = value
	}
	text, err := json.Marshal(fields)
	must(err)
	return text
}

// talk has the conversation over send and receive.
func talk(o order, send func([]byte), receive func() []byte) (t told) {
	next := func() (m message) {
		must(json.Unmarshal(receive(), &m))
		return
	}
	for next().Subject != "welcome" {
	}
	send(envelope(o, o.Address, 1, map[string]any{"id": "foreign", "content": o.Content}))
	for accepted := false; !accepted || t.Seq == ""; {
		m := next()
		if m.Subject == "accepted" {
			accepted = true
		} else if m.From == o.Address {
			t.Content, t.Seq = m.Content, m.Seq
		}
	}
	send(envelope(o, "postmaster", 4, map[string]any{"id": "ack", "subject": "ack", "references": t.Seq}))
	for t.Cursor == "" {
		if m := next(); m.Subject == "result" && m.InReplyTo == "ack" {
			t.Cursor = m.Cursor
		}
	}
	return
}

func tell(t told) {
	text, err := json.Marshal(t)
	must(err)
	fmt.Println(string(text))
}
