// Command probe looks at a cluster from inside of a pod, for the bed's own tests:
//
//	probe lookup NAME    prints the addresses of a name
//	probe get URL        prints what a GET of it answers
//	probe serve PORT     answers each GET with its own host's name
//	probe tick FILE      appends a line to a file ten times a second
//
// lookup and get go on trying for a minute.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: probe lookup|get|serve|tick ARGUMENT"))
	}
	argument := os.Args[2]
	switch os.Args[1] {
	case "lookup":
		retry(func() error {
			found, err := net.LookupHost(argument)
			if err == nil {
				fmt.Println(found)
			}
			return err
		})
	case "get":
		client := http.Client{Timeout: 2 * time.Second}
		retry(func() error {
			answer, err := client.Get(argument)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err == nil {
				fmt.Println(answer.StatusCode, string(body))
			}
			return err
		})
	case "serve":
		host, err := os.Hostname()
		fail(err)
		fail(http.ListenAndServe(":"+argument, http.HandlerFunc(
			func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, host) })))
	case "tick":
		file, err := os.OpenFile(argument, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		fail(err)
		for {
			_, err = fmt.Fprintln(file, time.Now().UnixMilli())
			fail(err)
			time.Sleep(100 * time.Millisecond)
		}
	default:
		fail(fmt.Errorf("no such command: %s", os.Args[1]))
	}
}

func retry(try func() error) {
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	fail(err)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
