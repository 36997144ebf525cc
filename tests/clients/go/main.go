// A generated client against a real daemon: see tests/e2e/clients.rs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"

	tradewind "tradewind.dev/client"
)

const selector = "app=client"

var names = []string{"one", "two", "three"}

func manifest(name string, command []string) tradewind.Manifest {
	mode, level := "test", float64(3)
	port, cpu, memory := int32(8080), "500m", "64Mi"
	service := tradewind.Service{
		Command:   command,
		Env:       map[string]tradewind.EnvSpec{"MODE": {String: &mode}, "LEVEL": {Float64: &level}},
		Ports:     map[string]tradewind.PortSpec{"http": {Int32: &port}},
		Resources: &tradewind.ResourcesSpec{Cpu: &tradewind.MilliCpu{String: &cpu}, Memory: &tradewind.Bytes{String: &memory}},
	}
	metadata := tradewind.Metadata{Name: name, Labels: map[string]string{"app": "client"}}
	spec := tradewind.Spec{Services: map[string]tradewind.Service{"web": service}}
	return *tradewind.NewManifest(tradewind.APIVERSION_V1, tradewind.KIND_CLOUD_DEPLOYMENT, metadata, spec)
}

// watch follows a list. The generated method reads an answer whole, so the stream is read here, into the types that the description tells.
type watch struct {
	lines *bufio.Scanner
}

func follow(after int64) watch {
	query := url.Values{"watch": {"true"}, "after": {strconv.FormatInt(after, 10)}, "selector": {selector}}
	request, err := http.NewRequest("GET", os.Getenv("TRADEWIND_ENDPOINT")+"/v1/deployments?"+query.Encode(), nil)
	check(err)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TRADEWIND_TOKEN"))
	answer, err := http.DefaultClient.Do(request)
	check(err)
	if answer.StatusCode != http.StatusOK {
		check(fmt.Errorf("the watch is answered with %s", answer.Status))
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return watch{lines}
}

// next is the next event: a *DeploymentSummary, a *DeploymentLeft or a *Bookmark.
func (w watch) next() interface{} {
	var data interface{}
	for w.lines.Scan() {
		line := w.lines.Text()
		if event := strings.TrimPrefix(line, "event: "); event != line {
			switch event {
			case "put":
				data = &tradewind.DeploymentSummary{}
			case "delete":
				data = &tradewind.DeploymentLeft{}
			case "bookmark":
				data = &tradewind.Bookmark{}
			}
		}
		if text := strings.TrimPrefix(line, "data: "); text != line {
			if data == nil {
				check(fmt.Errorf("the watch failed: %s", text))
			}
			check(json.Unmarshal([]byte(text), data))
			return data
		}
	}
	check(w.lines.Err())
	check(fmt.Errorf("the watch ended"))
	return nil
}

// problem is what an error answer says.
func problem(err error) tradewind.ProblemDetails {
	if failure, ok := err.(*tradewind.GenericOpenAPIError); ok {
		if problem, ok := failure.Model().(tradewind.ProblemDetails); ok {
			return problem
		}
	}
	check(fmt.Errorf("not a problem: %v", err))
	return tradewind.ProblemDetails{}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	configuration := tradewind.NewConfiguration()
	configuration.Servers = tradewind.ServerConfigurations{{URL: os.Getenv("TRADEWIND_ENDPOINT")}}
	client := tradewind.NewAPIClient(configuration)
	ctx := context.WithValue(context.Background(), tradewind.ContextAccessToken, os.Getenv("TRADEWIND_TOKEN"))
	deployments := client.DeploymentsAPI

	for _, name := range names {
		put, _, err := deployments.PutDeployment(ctx, name).Manifest(manifest(name, []string{"serve"})).Execute()
		check(err)
		fmt.Printf("put %s: %s, generation %d\n", put.Name, put.Outcome, put.Generation)
	}

	page, _, err := deployments.ListDeployments(ctx).Selector(selector).Limit(2).Execute()
	check(err)
	revision, pages, found := *page.Revision, 1, page.Items
	for page.Next != nil {
		page, _, err = deployments.ListDeployments(ctx).Selector(selector).Limit(2).Cursor(*page.Next).Execute()
		check(err)
		pages, found = pages+1, append(found, page.Items...)
	}
	status, listed := map[string]tradewind.Status{}, []string{}
	for _, item := range found {
		status[item.Name], listed = item.Status, append(listed, item.Name)
	}
	sort.Strings(listed)
	fmt.Printf("listed [%s] on %d pages\n", strings.Join(listed, ", "), pages)

	events := follow(revision)
	running := func() bool {
		for _, name := range names {
			if status[name] != tradewind.STATUS_RUNNING {
				return false
			}
		}
		return true
	}
	for !running() {
		if put, ok := events.next().(*tradewind.DeploymentSummary); ok {
			status[put.Name] = put.Status
		}
	}
	fmt.Printf("running %d\n", len(status))

	view, answer, err := deployments.GetDeployment(ctx, "one").Execute()
	check(err)
	env := view.Manifest.Spec.Services["web"].Env
	fmt.Printf("reads %s, MODE %s\n", view.Name, *env["MODE"].String)
	for attempt := 0; attempt < 20; attempt++ {
		_, again, err := deployments.GetDeployment(ctx, "one").IfNoneMatch(answer.Header.Get("ETag")).Execute()
		if again != nil && again.StatusCode == http.StatusNotModified {
			fmt.Printf("unchanged %d\n", again.StatusCode)
			break
		}
		check(err)
		answer = again
	}

	_, _, err = deployments.PutDeployment(ctx, "bad").Manifest(manifest("bad", []string{})).Execute()
	refused := problem(err)
	fmt.Printf("refused %s %d at %s\n", refused.Type, refused.Status, refused.Problems[0].Path)

	plugins, _, err := client.PluginsAPI.ListPlugins(ctx).Execute()
	check(err)
	instances := []string{}
	for _, plugin := range plugins.Items {
		instances = append(instances, plugin.Instance)
	}
	sort.Strings(instances)
	fmt.Printf("plugins [%s]\n", strings.Join(instances, ", "))
	offers, _, err := client.PlacementAPI.ListOffers(ctx).Execute()
	check(err)
	offer := offers.Items[0]
	fmt.Printf("offer %s %s %s at %s\n", offer.Provider, offer.Region, offer.Size, *offer.Price.String)
	regions, _, err := client.PlacementAPI.ListRegions(ctx).Execute()
	check(err)
	places := []string{}
	for _, region := range regions.Items {
		places = append(places, region.Region)
	}
	fmt.Printf("regions [%s]\n", strings.Join(places, ", "))
	told, _, err := client.EventsAPI.ListEvents(ctx).Deployment("one").Execute()
	check(err)
	caused := false
	for _, event := range told.Items {
		caused = caused || event.Cause != nil && event.Cause.Kind == "request"
	}
	fmt.Printf("a request caused some event: %t\n", caused)
	decisions, _, err := client.PlacementAPI.ListDecisions(ctx).Deployment("one").Limit(1).Execute()
	check(err)
	fmt.Printf("decided by %s\n", decisions.Items[0].Policy.Instance)
	explained, _, err := client.PlacementAPI.ExplainDeployment(ctx, "one").Execute()
	check(err)
	fmt.Printf("explained %s\n", explained.Tasks[0].Task)
	config, _, err := client.MetaAPI.GetConfig(ctx).Execute()
	check(err)
	fmt.Printf("listens on %s\n", strings.Split(config.Listen, ":")[0])

	for _, name := range names {
		_, _, err := deployments.DeleteDeployment(ctx, name).Execute()
		check(err)
	}
	gone := map[string]bool{}
	for len(gone) < len(names) {
		if left, ok := events.next().(*tradewind.DeploymentLeft); ok {
			gone[left.Name] = true
		}
	}
	fmt.Printf("deleted %d\n", len(gone))
	_, _, err = deployments.GetDeployment(ctx, "one").Execute()
	missing := problem(err)
	fmt.Printf("missing %s %d\n", missing.Type, missing.Status)
}
