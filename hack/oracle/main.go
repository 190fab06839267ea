// The oracle answers what Kubernetes itself would decide: one JSON question a line, one JSON answer a line.
//
// The core of matching is the very function that kube-controller-manager and kube-scheduler call. What they wrap around
// it is not exported and is written again here: the buckets of access modes, the checks of a claim
// that names its volume, and a pod's claims one after the other.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/storage/volume"
)

type question struct {
	Op           string
	Claim        *v1.PersistentVolumeClaim
	Claims       []*v1.PersistentVolumeClaim
	Volumes      []*v1.PersistentVolume
	Node         *v1.Node
	Excluded     []string
	DelayBinding bool
	Labels       map[string]string
	Selector     *metav1.LabelSelector
	A, B         string
	Rounds       int
}

type answer struct {
	Volume  string   `json:"volume,omitempty"`
	Volumes []string `json:"volumes,omitempty"`
	Error   string   `json:"error,omitempty"`
	Yes     bool     `json:"yes,omitempty"`
	Number  int64    `json:"number,omitempty"`
	Seconds float64  `json:"seconds,omitempty"`
}

func main() {
	in, out := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20)), json.NewEncoder(os.Stdout)
	var held []*v1.PersistentVolume
	for {
		var asked question
		if in.Decode(&asked) != nil {
			return
		}
		if asked.Op == "hold" {
			held = asked.Volumes
		} else if asked.Volumes == nil {
			asked.Volumes = held
		}
		if out.Encode(reply(asked)) != nil {
			return
		}
	}
}

func reply(asked question) answer {
	switch asked.Op {
	case "hold":
		return answer{Number: int64(len(asked.Volumes))}
	case "match":
		return named(core(asked.Claim, asked.Volumes, asked.Node, asked.Excluded, asked.DelayBinding))
	case "buckets":
		return named(buckets(asked.Claim, asked.Volumes, asked.DelayBinding))
	case "time":
		started := time.Now()
		for range asked.Rounds {
			if _, err := buckets(asked.Claim, asked.Volumes, asked.DelayBinding); err != nil {
				return answer{Error: err.Error()}
			}
		}
		return answer{Seconds: time.Since(started).Seconds() / float64(asked.Rounds)}
	case "pod":
		return pod(asked)
	case "belongs":
		return answer{Yes: volume.IsVolumeBoundToClaim(asked.Volumes[0], asked.Claim)}
	case "affinity":
		return answer{Yes: volume.CheckNodeAffinity(asked.Volumes[0], asked.Labels) == nil}
	case "selector":
		selector, err := metav1.LabelSelectorAsSelector(asked.Selector)
		if err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Yes: selector.Matches(labels.Set(asked.Labels))}
	case "satisfies":
		return answer{Error: satisfies(asked.Claim, asked.Volumes[0])}
	case "quantity":
		return quantity(asked.A, asked.B)
	}
	return answer{Error: "unknown op " + asked.Op}
}

func named(found *v1.PersistentVolume, err error) answer {
	if err != nil {
		return answer{Error: err.Error()}
	}
	if found == nil {
		return answer{}
	}
	return answer{Volume: found.Name}
}

func core(claim *v1.PersistentVolumeClaim, volumes []*v1.PersistentVolume, node *v1.Node, without []string, delay bool) (*v1.PersistentVolume, error) {
	excluded := map[string]*v1.PersistentVolume{}
	for _, name := range without {
		excluded[name] = nil
	}
	return volume.FindMatchingVolume(claim, volumes, node, excluded, delay, true)
}

// The index keeps volumes by their access modes in a fixed order, without repetition, and without modes it does not know.
var known = []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce, v1.ReadOnlyMany, v1.ReadWriteMany, v1.ReadWriteOncePod}

func buckets(claim *v1.PersistentVolumeClaim, volumes []*v1.PersistentVolume, delay bool) (*v1.PersistentVolume, error) {
	filled := map[string][]*v1.PersistentVolume{}
	for _, each := range volumes {
		var has []string
		for _, mode := range known {
			if slices.Contains(each.Spec.AccessModes, mode) {
				has = append(has, string(mode))
			}
		}
		key := strings.Join(has, ",")
		filled[key] = append(filled[key], each)
	}
	var keys []string
	for key := range filled {
		if contains(strings.Split(key, ","), claim.Spec.AccessModes) {
			keys = append(keys, key)
		}
	}
	// Among keys of one length upstream's order is random; here it goes by the modes' own order.
	sort.Slice(keys, func(a, b int) bool {
		if n, m := count(keys[a]), count(keys[b]); n != m {
			return n < m
		}
		return slices.Compare(ranks(keys[a]), ranks(keys[b])) < 0
	})
	for _, key := range keys {
		if found, err := core(claim, filled[key], nil, nil, delay); err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}

func count(key string) int { return len(strings.FieldsFunc(key, func(r rune) bool { return r == ',' })) }

func ranks(key string) []int {
	var found []int
	for _, mode := range strings.Split(key, ",") {
		found = append(found, slices.Index(known, v1.PersistentVolumeAccessMode(mode)))
	}
	return found
}

func contains(has []string, wanted []v1.PersistentVolumeAccessMode) bool {
	for _, mode := range wanted {
		if !slices.Contains(has, string(mode)) {
			return false
		}
	}
	return true
}

// A pod's claims on one node: the smallest request first, each volume taken once, and no way back.
func pod(asked question) answer {
	claims := slices.Clone(asked.Claims)
	sort.SliceStable(claims, func(a, b int) bool {
		one, other := claims[a].Spec.Resources.Requests[v1.ResourceStorage], claims[b].Spec.Resources.Requests[v1.ResourceStorage]
		return one.Cmp(other) < 0
	})
	var given, taken []string
	for _, claim := range claims {
		found, err := core(claim, asked.Volumes, asked.Node, taken, true)
		if err != nil {
			return answer{Error: err.Error()}
		}
		if found == nil {
			continue
		}
		taken = append(taken, found.Name)
		given = append(given, claim.Name+"="+found.Name)
	}
	return answer{Volumes: given}
}

// The checks of a claim that names a volume that is not bound yet; the first that fails.
func satisfies(claim *v1.PersistentVolumeClaim, had *v1.PersistentVolume) string {
	request, capacity := claim.Spec.Resources.Requests[v1.ResourceStorage], had.Spec.Capacity[v1.ResourceStorage]
	switch {
	case had.DeletionTimestamp != nil:
		return "deleting"
	case capacity.Value() < request.Value():
		return "capacity"
	case volume.GetPersistentVolumeClass(had) != volume.GetPersistentVolumeClaimClass(claim):
		return "class"
	case text(claim.Spec.VolumeAttributesClassName) != text(had.Spec.VolumeAttributesClassName):
		return "attributes-class"
	case volume.CheckVolumeModeMismatches(&claim.Spec, &had.Spec):
		return "volume-mode"
	case !volume.CheckAccessModes(claim, had):
		return "access-modes"
	}
	return ""
}

func text(pointer *string) string {
	if pointer == nil {
		return ""
	}
	return *pointer
}

func quantity(a, b string) answer {
	one, err := resource.ParseQuantity(a)
	if err != nil {
		return answer{Error: "first"}
	}
	if b == "" {
		return answer{Number: one.Value(), Volume: one.String()}
	}
	other, err := resource.ParseQuantity(b)
	if err != nil {
		return answer{Error: "second"}
	}
	return answer{Number: int64(one.Cmp(other))}
}
