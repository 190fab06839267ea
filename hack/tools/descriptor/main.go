package main

import (
	"os"

	csi "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
)

func main() {
	b, err := proto.Marshal(protodesc.ToFileDescriptorProto(csi.File_csi_proto))
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(b)
}
