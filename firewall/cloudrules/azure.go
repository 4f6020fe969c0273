package cloudrules

import (
	"fmt"
	"strings"

	"ringfence/internal/ports"
)

// Priorities of Azure's rules are unique, 100 to 4096; the gaps are for the
// administrator's own.
const (
	firstPriority = 200
	priorityStep  = 10
)

func azureProtocol(p ports.Proto) string {
	if p == ports.UDP {
		return "Udp"
	}
	return "Tcp"
}

func azureTerraform(b *strings.Builder, rules []Rule) {
	b.WriteString("\nvariable \"resource_group_name\" {\n  type        = string\n  description = \"Resource group of the network security group.\"\n}\n" +
		"\nvariable \"network_security_group_name\" {\n  type        = string\n  description = \"Network security group of the subnet or interface.\"\n}\n")
	for i, p := range parts(rules) {
		fmt.Fprintf(b, "\nresource \"azurerm_network_security_rule\" %q {\n", "ringfence_"+identifier(p.name))
		fmt.Fprintf(b, "  name                        = %q\n  description                 = %q\n", "ringfence-"+p.name, p.row.Name)
		b.WriteString("  resource_group_name         = var.resource_group_name\n  network_security_group_name = var.network_security_group_name\n")
		fmt.Fprintf(b, "  priority                    = %d\n  direction                   = \"Inbound\"\n  access                      = \"Allow\"\n  protocol                    = %q\n",
			firstPriority+i*priorityStep, azureProtocol(p.row.Proto))
		fmt.Fprintf(b, "  source_address_prefixes     = [%s]\n  source_port_range           = \"*\"\n  destination_address_prefix  = \"*\"\n  destination_port_range      = %q\n}\n",
			quoted(p.from), p.row.Ports())
	}
}

func azureCLI(b *strings.Builder, rules []Rule) {
	b.WriteString(": \"${RESOURCE_GROUP:?resource group of the network security group}\"\n: \"${NSG:?name of the network security group}\"\n")
	for i, p := range parts(rules) {
		fmt.Fprintf(b, "az network nsg rule create --resource-group \"$RESOURCE_GROUP\" --nsg-name \"$NSG\" \\\n  --name ringfence-%s --description '%s' --priority %d --direction Inbound --access Allow \\\n",
			p.name, p.row.Name, firstPriority+i*priorityStep)
		fmt.Fprintf(b, "  --protocol %s --source-address-prefixes %s --source-port-ranges '*' \\\n  --destination-address-prefixes '*' --destination-port-ranges %s\n",
			azureProtocol(p.row.Proto), joined(p.from, " "), p.row.Ports())
	}
}
