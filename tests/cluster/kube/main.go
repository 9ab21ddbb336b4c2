// Command kube is a whole Kubernetes in one file: the component is named by the first argument, or by the name that the
// program is called under.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// A component's constructor registers flags and feature gates that all components share, so only the one that was asked
// for is ever called.
var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
}

func main() {
	component := filepath.Base(os.Args[0])
	if component == "kube" {
		if len(os.Args) < 2 {
			fail("no component named")
		}
		// The components read os.Args themselves, so the name has to leave it.
		component, os.Args = os.Args[1], os.Args[1:]
	}
	if component == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	construct, known := components[component]
	if !known {
		fail(fmt.Sprintf("no component %q", component))
	}
	os.Exit(cli.Run(construct()))
}

func fail(what string) {
	names := []string{"etcd"}
	for name := range components {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "kube: %s; there are %s\n", what, strings.Join(names, ", "))
	os.Exit(2)
}
