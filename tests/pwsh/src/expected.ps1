$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

function ConvertFrom-Node($Node) {
    switch ($Node.t) {
        'null' { return $null }
        'text' { return $Node.v.Substring(1) }
        'list' {
            $items = New-Object System.Collections.ArrayList
            foreach ($item in $Node.v) { [void]$items.Add((ConvertFrom-Node $item)) }
            return , $items.ToArray()
        }
        'map' {
            $table = @{}
            foreach ($pair in $Node.v) { $table[$pair.k.Substring(1)] = ConvertFrom-Node $pair.v }
            return $table
        }
        default { return $Node.v }
    }
}

function ConvertTo-Plain($Value, [int]$Depth) {
    if ($null -eq $Value) { return $null }
    if ($Value -is [bool]) { return [bool]$Value }
    if ($Value -is [datetime]) { return $Value.ToUniversalTime().ToString('o') }
    if ($Value -is [decimal]) { return $Value }
    if ($Value -is [enum] -or $Value -is [char] -or $Value -is [string]) { return [string]$Value }
    if ($Value -is [valuetype]) {
        if ($Value.GetType().IsPrimitive) { return $Value }
        return [string]$Value
    }
    if ($Depth -le 0) { return [string]$Value }
    if ($Value -is [System.Collections.IDictionary]) {
        $table = [ordered]@{}
        foreach ($key in $Value.Keys) { $table[[string]$key] = ConvertTo-Plain $Value[$key] ($Depth - 1) }
        return $table
    }
    if ($Value -is [System.Collections.IEnumerable]) {
        $items = New-Object System.Collections.ArrayList
        foreach ($item in $Value) { [void]$items.Add((ConvertTo-Plain $item ($Depth - 1))) }
        return , $items.ToArray()
    }
    $table = [ordered]@{}
    foreach ($property in $Value.PSObject.Properties) {
        $seen = $null
        try { $seen = $property.Value } catch { $seen = $null }
        $table[$property.Name] = ConvertTo-Plain $seen ($Depth - 1)
    }
    return $table
}

$reply = [ordered]@{ baton = 1; ok = $false; result = $null; errors = @() }
try {
    $text = [System.Text.Encoding]::UTF8.GetString([System.Convert]::FromBase64String('@DATA@'))
    $call = ConvertFrom-Json -InputObject $text
    foreach ($module in $call.modules) { Import-Module -Name $module }
    $command = Get-Command -Name $call.cmdlet -CommandType 'Cmdlet', 'Function'
    $parameters = ConvertFrom-Node $call.parameters
    if ($command.Parameters.ContainsKey('ErrorAction')) { $parameters['ErrorAction'] = 'Stop' }
    $Error.Clear()
    $output = & $command @parameters
    $succeeded = $?
    $failures = $Error.Count
    $reply.result = ConvertTo-Plain $output 5
    $reply.ok = $succeeded -and ($failures -eq 0)
}
catch {
    $reply.ok = $false
}
if (-not $reply.ok) {
    foreach ($record in @($Error)) {
        $id = ''
        if ($record -is [System.Management.Automation.ErrorRecord]) { $id = [string]$record.FullyQualifiedErrorId }
        if ($reply.errors.Count -lt 10) { $reply.errors += [ordered]@{ message = [string]$record; id = $id } }
    }
}
$json = ConvertTo-Json -InputObject $reply -Compress -Depth 12
$json = [regex]::Replace($json, '[^\x20-\x7e]', { param($match) '\u{0:x4}' -f [int][char]$match.Value })
[Console]::Out.WriteLine($json)
if ($reply.ok) { exit 0 }
exit 1
