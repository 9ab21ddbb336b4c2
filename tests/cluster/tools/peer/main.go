// Command peer shows that the pods of a Job find and reach each other by name, as a training run's do.
//
//	peer PORT PEERS HOST:PORT...
//
// It listens on PORT, dials every HOST:PORT until it answers, and ends with 0 once it reached them all and PEERS others
// have reached it.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

const patience = 90 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("expected PORT PEERS HOST:PORT...")
	}
	peers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	listener, err := net.Listen("tcp", ":"+args[0])
	if err != nil {
		return err
	}
	met := make(chan string)
	go func() {
		for {
			visitor, err := listener.Accept()
			if err != nil {
				return
			}
			from, _, _ := net.SplitHostPort(visitor.RemoteAddr().String())
			visitor.Close()
			met <- from
		}
	}()
	reached := make(chan string)
	for _, address := range args[2:] {
		go func() {
			reach(ctx, address)
			reached <- address
		}()
	}
	visitors := map[string]bool{}
	for left := len(args) - 2; left > 0 || len(visitors) < peers; {
		select {
		case address := <-reached:
			left--
			fmt.Println("reached", address)
		case from := <-met:
			visitors[from] = true
			fmt.Println("reached by", from)
		case <-ctx.Done():
			return fmt.Errorf("%d addresses not reached and %d of %d peers seen in %v", left, len(visitors), peers, patience)
		}
	}
	return nil
}

// reach dials until there is an answer. The name is resolved again each time, since DNS may come late and change.
func reach(ctx context.Context, address string) {
	for {
		if connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address); err == nil {
			connection.Close()
			return
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			<-make(chan struct{}) // the waiting side reports it
		}
	}
}
