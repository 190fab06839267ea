// Descriptor writes the published CSI interface, as a serialized google.protobuf.FileDescriptorProto, to its standard
// output. A test compares it with our own csi.proto.
package main

import (
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
)

func main() {
	file, err := proto.Marshal(protodesc.ToFileDescriptorProto(csi.File_csi_proto))
	if err == nil {
		_, err = os.Stdout.Write(file)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "descriptor: cannot write the descriptor of CSI: %v\n", err)
		os.Exit(1)
	}
}
