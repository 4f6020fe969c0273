package formats

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"
)

// envelope is the OVF 1.1 descriptor (DMTF DSP0243): two processors, 1 GiB, the
// disk on SATA, because the kernel drives that controller and VMware's own SCSI
// ones it does not, a network interface, no CD, no floppy. ResourceTypes are
// CIM's: 3 processor, 4 memory, 10 Ethernet, 17 disk, 20 other storage.
const envelope = `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>
    <File ovf:id="disk" ovf:href="{{.Name}}.vmdk" ovf:size="{{.FileSize}}"/>
  </References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:diskId="system" ovf:fileRef="disk" ovf:capacity="{{.Size}}" ovf:capacityAllocationUnits="byte" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="VM Network">
      <Description>The network of phones and administrators</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{{.Name}}">
    <Info>A telephone system</Info>
    <Name>{{.Name}}</Name>
    <ProductSection>
      <Info>What this is</Info>
      <Product>Ringfence</Product>
      <Version>{{xml .Version}}</Version>
    </ProductSection>
    <OperatingSystemSection ovf:id="101">
      <Info>Linux, 64 bit</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <System>
        <vssd:ElementName>Hardware</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{{.Name}}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:ElementName>2 processors</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>2</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:ElementName>1 GiB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>1024</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:ElementName>SATA controller</rasd:ElementName>
        <rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>vmware.sata.ahci</rasd:ResourceSubType>
        <rasd:ResourceType>20</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:ElementName>System disk</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/system</rasd:HostResource>
        <rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Connection>VM Network</rasd:Connection>
        <rasd:ElementName>Network</rasd:ElementName>
        <rasd:InstanceID>5</rasd:InstanceID>
        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`

// OVF describes the machine that the VMDK of fileSize bytes is the disk of.
func OVF(img Image, fileSize int64) ([]byte, error) {
	t, err := template.New("ovf").Funcs(template.FuncMap{"xml": escape}).Parse(envelope)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Image
		FileSize int64
	}{img, fileSize})
	if err != nil {
		return nil, fmt.Errorf("writing OVF: %w", err)
	}
	return b.Bytes(), nil
}

func escape(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}

// File is one of an OVA.
type File struct {
	Name    string
	Size    int64
	Content io.Reader
}

// OVAManifest is the file of sums (DSP0243 section 5.1) for an OVF and a VMDK
// of which the SHA-256 is known.
func OVAManifest(img Image, ovf []byte, vmdkSum string) []byte {
	sum := sha256.Sum256(ovf)
	return fmt.Appendf(nil, "SHA256(%[1]s.ovf)= %[2]s\nSHA256(%[1]s.vmdk)= %[3]s\n", img.Name, hex.EncodeToString(sum[:]), vmdkSum)
}

// WriteOVA packs OVF, sums and disk into one file, in this order: whoever
// imports it reads it as a stream.
func WriteOVA(w io.Writer, at time.Time, files ...File) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		err := t.WriteHeader(&tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: f.Name, Size: f.Size, Mode: 0o644, ModTime: at})
		if err == nil {
			_, err = io.Copy(t, f.Content)
		}
		if err != nil {
			return fmt.Errorf("writing OVA: %s: %w", f.Name, err)
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("writing OVA: %w", err)
	}
	return nil
}
